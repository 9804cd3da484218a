/** What each VMM's file says: which memory is a guest's, and what the command line says of it. */

import { formatSize } from '../../../ground/units.js'
import { formatAddresses, isAnonymous, isData, type Mapping } from '../maps.js'
import type { CommandLine } from './command-line.js'
import type { VmmId } from './programs.js'

/** What is known of a process from outside. */
export interface ProcessFacts {
  readonly pid: number
  /** The file name of its program. */
  readonly program: string
  readonly commandLine: readonly string[]
  readonly mappings: readonly Mapping[]
  /** The vCPUs that it has at KVM; 0 without KVM. */
  readonly vcpus: number
}

/** A range that is a guest's RAM. */
export interface FoundRange {
  readonly name: string
  readonly start: number
  readonly end: number
  readonly guestAddress?: number
}

/** What a VMM's rule has found. */
export interface Found {
  readonly ranges: readonly FoundRange[]
  /** In sentences, how it was found. */
  readonly why: readonly string[]
}

/** A VMM whose memory can be found. */
export interface Vmm {
  /** Absent for the rule of all programs that are not known. */
  readonly id?: VmmId
  /** Whether the tests run this VMM. */
  readonly isTested: boolean
  /** What is looked for, as a part of a sentence. */
  readonly looksFor: string
  /** The smallest memory that it takes for the guest's, unless the caller says another size. */
  readonly leastBytes?: number
  /** Reads the command line of process `pid`, and the file of a configuration that it names. */
  readCommandLine?(words: readonly string[], pid: number): CommandLine
  /** `minBytes` is the smallest mapping that is taken, if the caller has said so. */
  find(process: ProcessFacts, minBytes: number | undefined): Found
}

/** The smallest mapping that is taken for RAM where only sizes tell. */
export const LEAST_RAM: number = 128 * 2 ** 20
const GIB = 2 ** 30
/** Where the RAM of x86 machines goes on behind the hole below 4 GiB. */
const ABOVE_HOLE = 4 * GIB

/** Whether a mapping may be RAM: anonymous memory, or a memfd, a file or shared memory. */
export function mayBeRam(mapping: Mapping): boolean {
  const { path } = mapping
  const isFile =
    path.startsWith('/') &&
    (!path.startsWith('/dev/') ||
      path.startsWith('/dev/shm/') ||
      path.startsWith('/dev/hugepages/') ||
      path.startsWith('/dev/zero'))
  return isData(mapping) && (isAnonymous(mapping) || isFile)
}

/** Names for mappings: `ram`, or `ram0`, `ram1` and so on for several. */
export function named(mappings: readonly Mapping[]): FoundRange[] {
  return mappings.map(({ start, end }, at) => ({
    name: mappings.length === 1 ? 'ram' : `ram${at}`,
    start,
    end,
  }))
}

/**
 * A block of RAM in its parts below and above the hole, with their guest addresses. `lowBytes` lie
 * below; `order` says which part comes first in the process's memory.
 */
export function splitAtHole(
  { start, end }: Pick<FoundRange, 'start' | 'end'>,
  lowBytes: number,
  order: 'low-first' | 'high-first',
): FoundRange[] {
  if (end - start <= lowBytes) return [{ name: 'ram', start, end, guestAddress: 0 }]
  const middle = order === 'low-first' ? start + lowBytes : end - lowBytes
  const low = { name: 'ram-low', guestAddress: 0 }
  const high = { name: 'ram-high', guestAddress: ABOVE_HOLE }
  const [first, second] = order === 'low-first' ? [low, high] : [high, low]
  return [
    { ...first, start, end: middle },
    { ...second, start: middle, end },
  ]
}

/** A sentence about mappings that were not taken; none if there are none. */
export function leftOut(mappings: readonly Mapping[], because: string): string[] {
  if (mappings.length === 0) return []
  const list = mappings.map(mapping => `${formatAddresses(mapping)} (${formatSize(mapping.bytes)})`)
  return [`Left out, because ${because}: ${list.join(', ')}.`]
}
