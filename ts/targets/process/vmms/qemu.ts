/**
 * QEMU. It advises against copying each block of RAM to a child (flag `dc`), and maps a guard page
 * behind it. So do the blocks of video memory, flash and option ROMs, which only their sizes tell
 * from RAM.
 */

import { formatSize } from '../../../ground/units.js'
import { parseQemuCommandLine, type QemuCommandLine } from '../../qemu/command-line.js'
import type { Mapping } from '../maps.js'
import {
  type Found,
  LEAST_RAM,
  leftOut,
  mayBeRam,
  named,
  type ProcessFacts,
  splitAtHole,
  type Vmm,
} from './vmm.js'

/** The blocks of a QEMU, of RAM and of devices. */
function blocksOf(mappings: readonly Mapping[]): Mapping[] {
  return mappings.filter((mapping, at) => {
    const next = mappings[at + 1]
    const isGuarded = next?.start === mapping.end && next.permissions.startsWith('---')
    return mayBeRam(mapping) && mapping.flags.has('dc') && isGuarded
  })
}

/**
 * How much RAM an x86 machine of QEMU has below the hole under 4 GiB; undefined for a machine whose
 * rule is not known here, and with NUMA nodes, whose RAM is several blocks.
 */
function lowRam(
  program: string,
  { machine: { type = 'pc', hasRamLimit }, hasNodes, memoryBytes }: QemuCommandLine,
): number | undefined {
  if (!/x86_64|i386|qemu-kvm|^kvm$/.test(program) || hasNodes || hasRamLimit) return undefined
  if (/^(pc-)?q35/.test(type)) return memoryBytes >= 0xb000_0000 ? 0x8000_0000 : 0xb000_0000
  if (/^pc(-i440fx|$)/.test(type)) return memoryBytes >= 0xe000_0000 ? 0xc000_0000 : 0xe000_0000
  return undefined
}

function find(process: ProcessFacts, minBytes: number | undefined): Found {
  const said = parseQemuCommandLine(process.commandLine)
  const blocks = blocksOf(process.mappings)
  const sizes = new Set([said.memoryBytes, ...said.backendBytes])
  const bySize = minBytes === undefined ? blocks.filter(({ bytes }) => sizes.has(bytes)) : []
  if (bySize.length === 0) {
    const least = minBytes ?? LEAST_RAM
    const taken = blocks.filter(({ bytes }) => bytes >= least)
    const why =
      minBytes === undefined
        ? `No block of QEMU has a size that -m or -object names, so all blocks of ${formatSize(least)} and more were taken; video memory may be among them.`
        : `All blocks of QEMU of ${formatSize(least)} and more were taken.`
    return { ranges: named(taken), why: taken.length === 0 ? [] : [why] }
  }
  const others = blocks.filter(block => block.bytes >= LEAST_RAM && !bySize.includes(block))
  const why = [
    'These are the blocks of QEMU whose size -m or -object names.',
    ...leftOut(others, 'no option names their size'),
  ]
  const [only] = bySize
  const low = lowRam(process.program, said)
  if (bySize.length === 1 && only?.bytes === said.memoryBytes && low !== undefined)
    return { ranges: splitAtHole(only, low, 'low-first'), why }
  return { ranges: named(bySize), why }
}

export const qemu: Vmm = {
  id: 'qemu',
  isTested: true,
  looksFor:
    'blocks with MADV_DONTFORK and a guard page behind them, of the sizes that -m and -object name',
  readCommandLine(words) {
    const { name, memoryBytes, vcpus } = parseQemuCommandLine(words)
    return { ...(name === undefined ? {} : { name }), memoryBytes, vcpus }
  },
  find,
}
