/**
 * QEMU. It advises against copying each block of RAM to a child (flag `dc`), and maps a guard page
 * behind it. So do the blocks of video memory, flash and option ROMs, which only their sizes tell
 * from RAM.
 */

import { formatSize } from '../../../ground/units.js'
import type { Mapping } from '../maps.js'
import { backendSizes, lowRam, ramSize } from './qemu-options.js'
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

function find(process: ProcessFacts, minBytes: number | undefined): Found {
  const { commandLine, program } = process
  const blocks = blocksOf(process.mappings)
  const ram = ramSize(commandLine)
  const sizes = new Set([ram, ...backendSizes(commandLine)])
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
  const low = lowRam(program, commandLine)
  if (bySize.length === 1 && only?.bytes === ram && low !== undefined)
    return { ranges: splitAtHole(only, low, 'low-first'), why }
  return { ranges: named(bySize), why }
}

export const qemu: Vmm = {
  name: 'QEMU',
  isTested: true,
  looksFor:
    'blocks with MADV_DONTFORK and a guard page behind them, of the sizes that -m and -object name',
  recognises: ({ program }) => /^qemu(-system)?-|^qemu-kvm$|^kvm$/.test(program),
  find,
}
