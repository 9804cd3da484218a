/**
 * The result of one measurement: a union by `mode`, whose members have what is known in that mode.
 * The command prints these objects as JSON. Nothing here depends on what was measured, or on QEMU.
 */

import type { DirtyCells } from './cells.js'
import type { Truth } from './truth.js'
import type { Warning } from './warning.js'

/** The window of a measurement. */
export interface Window {
  /** The length that was asked for. */
  readonly requestedMs: number
  /**
   * The time from the first CLEAR to the last GET. In mode page-sampling it is the mean of the
   * samples' own windows.
   */
  readonly ns: number
  /**
   * The spread between the windows of the RAM blocks, or between those of the samples. Absent where
   * nobody knows.
   */
  readonly skewNs?: number
  /**
   * The part of the window in which the guest was paused or had ended. Rates leave this time out.
   * Absent if it is not known.
   */
  readonly pausedNs?: number
}

/**
 * The bounds of a figure. `confidence` 1 means that the figure is exact, `high` null that no upper
 * bound is known.
 */
export interface Interval {
  readonly low: number
  readonly high: number | null
  readonly confidence: number
}

/** What KVM counted for all vCPUs together. A figure that this KVM does not count is absent. */
export interface GuestActivity {
  /** How often a vCPU left the guest. */
  readonly exitsPerSecond?: number
  /** Page faults of the guest that KVM handled, among them the first write to a logged page. */
  readonly pageFaultsPerSecond?: number
  readonly tlbFlushesPerSecond?: number
}

/**
 * What the measurement cost the guest: what KVM counted shortly before the window, within it, and
 * shortly after it. All windows of a curve count as one.
 */
export interface GuestCost {
  /** In a watch and in a repeated curve this is the time shortly before the first window. */
  readonly before?: GuestActivity
  readonly during: GuestActivity
  /** Absent in a watch and in a repeated curve, because the next window follows at once. */
  readonly after?: GuestActivity
}

/**
 * What the measurement took, in ns. A part that did not happen, or that is not known, is absent.
 */
export interface Cost {
  /**
   * Turning the log on and protecting every page: the steps 1 and 2. Absent if the log was on
   * already.
   */
  readonly startNs?: number
  /** The fetch at the window's end, with its re-protection: step 4. */
  readonly syncNs?: number
  /** The re-protection alone, in `startNs` and `syncNs` together. */
  readonly clearNs?: number
  /** Emptying the dirty rings. */
  readonly harvestNs?: number
  /** Counting: step 5. */
  readonly reapNs?: number
  /** The time inside the kernel, in all steps together. */
  readonly ioctlNs?: number
  /**
   * The longest single call that held the kernel's lock on the VM's memory: a vCPU that faults
   * waits up to this long.
   */
  readonly longestLockNs?: number
  /** Hashing the samples at both ends of the window. */
  readonly hashNs?: number
  /** What KVM's own statistics say, where the VM's software gives them and KVM counts. */
  readonly guest?: GuestCost
}

/**
 * One RAM block's share. A block that was added within the window has a shorter window, which
 * begins at that moment. The window of a removed block ends at its removal.
 */
export interface BlockMeasurement {
  readonly name: string
  /** Where the guest sees its first byte. Absent where nobody outside of the VM knows. */
  readonly guestAddress?: number
  readonly bytes: number
  /** Distinct pages. */
  readonly pages: number
  readonly windowNs: number
  /** The block was removed within the window. It contributes the pages written before that. */
  readonly removed?: true
  /** In mode page-sampling only: which samples of the block changed, and the bounds of `pages`. */
  readonly sampling?: {
    readonly samples: number
    readonly hits: number
    readonly zeroPages: number
    readonly pages: Interval
  }
}

/** One vCPU's share. A page that several vCPUs wrote counts for each of them. */
export interface VcpuMeasurement {
  readonly id: number
  readonly bytesPerSecond: number
  /** Distinct pages. */
  readonly pages?: number
  /** Entries of the vCPU's dirty ring, duplicates included. */
  readonly entries?: number
  /** Entries for a page that this vCPU had an entry for already. */
  readonly duplicates?: number
}

/** The entries of all dirty rings. */
export interface RingMeasurement {
  /** The entries of all vCPUs: one for each of their pages, and the duplicates. */
  readonly entries: number
  /** Entries for a page that the same vCPU had an entry for already. */
  readonly duplicates: number
  /** Pages that more than one vCPU wrote. */
  readonly sharedPages: number
  /** Entries for memory that is not logged, or that was removed. They are not in `entries`. */
  readonly dropped: number
  /**
   * Entries that are known to be lost. They are not in `entries`, and the result is not complete.
   */
  readonly lost: number
}

/** The pages that page sampling looked at. */
export interface SamplingMeasurement {
  readonly samplesPerGiB: number
  readonly samples?: number
  /** Samples that had changed at the end of the window. */
  readonly hits?: number
  /** Samples that held nothing but zeros at the first look. */
  readonly zeroPages?: number
}

interface CommonFigures {
  readonly window: Window
  /**
   * The sum over all RAM blocks of the bytes that were dirtied, each divided by the block's own
   * window.
   */
  readonly bytesPerSecond: number
  /** The bounds of `bytesPerSecond`. */
  readonly interval: Interval
  /** Distinct pages. Absent where they cannot be known. */
  readonly pages?: number
  /** The bytes of a page. */
  readonly pageSize?: number
  /** The RAM blocks, and those that were removed within the window if they contribute anything. */
  readonly blocks?: readonly BlockMeasurement[]
  /** The dirty pages by cell, if they were asked for. */
  readonly cells?: DirtyCells
  readonly cost?: Cost
  /** What the guest wrote in this window by its own count, if it is a built-in guest. */
  readonly truth?: Truth
  /** False: the figure is a lower bound, and `warnings` say why. */
  readonly complete: boolean
  readonly warnings: readonly Warning[]
}

/** What KVM's dirty bitmap says: exact. */
export interface DirtyBitmapFigures extends CommonFigures {
  readonly mode: 'dirty-bitmap'
}

/** What the dirty rings of the vCPUs say: exact unless entries were lost. */
export interface DirtyRingFigures extends CommonFigures {
  readonly mode: 'dirty-ring'
  readonly vcpus: readonly VcpuMeasurement[]
  readonly ring?: RingMeasurement
}

/**
 * What the kernel's soft-dirty bits of a process say: exact, unless some of the memory is in huge
 * pages. Then `interval` has the bounds.
 */
export interface SoftDirtyFigures extends CommonFigures {
  readonly mode: 'soft-dirty'
}

/** What samples of the pages say: an estimate. */
export interface PageSamplingFigures extends CommonFigures {
  readonly mode: 'page-sampling'
  readonly sampling: SamplingMeasurement
}

/** The figures of one window, in any mode. */
export type Figures = DirtyBitmapFigures | DirtyRingFigures | SoftDirtyFigures | PageSamplingFigures

/** What was measured, and when. */
export interface Frame {
  readonly schemaVersion: 1
  /** The URI that opens the same target again. */
  readonly target: string
  /** ISO 8601. */
  readonly startedAt: string
}
