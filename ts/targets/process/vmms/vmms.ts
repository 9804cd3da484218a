/** The rule of each VMM, and how the RAM of a process is found. */

import { isUserfaultfd, type Mapping, parseMaps } from '../maps.js'
import { anyVmm } from './any.js'
import { cloudHypervisor } from './cloud-hypervisor.js'
import type { CommandLine } from './command-line.js'
import { crosvm } from './crosvm.js'
import { firecracker } from './firecracker.js'
import { own } from './own.js'
import { isOurBinding, type VmmId, vmmOfProgram } from './programs.js'
import { qemu } from './qemu.js'
import { type Found, leftOut, type ProcessFacts, type Vmm } from './vmm.js'

/** The rule of each VMM. */
const RULES: Readonly<Record<VmmId, Vmm>> = {
  qemu,
  'cloud-hypervisor': cloudHypervisor,
  firecracker,
  crosvm,
  dirtyrate: own,
}

/** What the command line of a VMM says. */
export function readCommandLine(vmm: VmmId, words: readonly string[], pid: number): CommandLine {
  return RULES[vmm].readCommandLine?.(words, pid) ?? {}
}

/** The rule for a process. */
function ruleOf({ program, mappings }: ProcessFacts): Vmm {
  const id =
    vmmOfProgram(program) ?? (mappings.some(({ path }) => isOurBinding(path)) ? 'dirtyrate' : null)
  return id === null ? anyVmm : RULES[id]
}

/** The RAM of a process, and the VMM whose rule has found it. */
export interface FoundMemory extends Found {
  readonly vmm: Vmm
  /** What a userfaultfd serves, which must not be read. */
  readonly untouchable: readonly Mapping[]
}

/** Finds the RAM of a process. */
export function findRam(process: ProcessFacts, minBytes: number | undefined): FoundMemory {
  const vmm = ruleOf(process)
  const { ranges, why } = vmm.find(process, minBytes)
  const served = process.mappings.filter(isUserfaultfd)
  const isServed = ({ start, end }: { start: number; end: number }): boolean =>
    served.some(mapping => mapping.start < end && start < mapping.end)
  const untouchable = served.filter(mapping =>
    ranges.some(({ start, end }) => mapping.start < end && start < mapping.end),
  )
  return {
    vmm,
    ranges: ranges.filter(range => !isServed(range)),
    untouchable,
    why: [
      ...why,
      ...leftOut(
        untouchable,
        'a userfaultfd serves them: a migration with postcopy, or a snapshot',
      ),
    ],
  }
}

/** The flags that a rule may look for. */
const FLAGS: ReadonlySet<string> = new Set(['dc', 'dd'])

/**
 * Whether a process may have RAM of a guest, by the text of its `maps`. Reading this text walks no
 * page table, unlike that of `smaps`, but it has no flags. So each mapping is taken to have all
 * flags that a rule looks for.
 */
export function mayHaveRam(process: Omit<ProcessFacts, 'mappings'>, maps: string): boolean {
  const mappings = parseMaps(maps).map(mapping => ({ ...mapping, flags: FLAGS }))
  return findRam({ ...process, mappings }, undefined).ranges.length > 0
}
