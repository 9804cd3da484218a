/** The result of a measurement: one type for every mode, which is also the JSON that the command prints. */

import { measuredInfo } from '../qapi/arithmetic.js'
import type { DirtyRateInfo, Mode } from '../qapi/types.js'
import type { Truth } from '../reports.js'
import type { BlockMeasurement } from './blocks.js'

/** Bounds of a figure. `confidence` 1: exact. `high` null: no upper bound is known. */
export interface Interval {
  low: number
  high: number | null
  confidence: number
}

/** What to know of a figure: a stable `code`, and a sentence. */
export interface Warning {
  code: string
  message: string
}

/** What a measurement took, in ns. */
export interface Cost {
  /** Turning the log on and protecting every page: the steps 1 and 2. */
  startNs: number
  /** The fetch at the window's end, with its re-protection: step 4. */
  syncNs: number
  /** Re-protecting alone, in both. */
  clearNs: number
  /** Emptying dirty rings; 0 in other modes. */
  harvestNs: number
  /** Counting: step 5. */
  reapNs: number
  /** Inside the kernel, in all. */
  ioctlNs: number
  /** The longest single call that held the kernel's lock on this VM's memory: a vCPU that faults waits up to this. */
  longestLockNs: number
  /** Mode page-sampling only: hashing, at both ends. */
  hashNs?: number
}

/** One vCPU's share, by its own dirty ring. A page that several wrote is in the count of each. */
export interface VcpuMeasurement {
  id: number
  /** Distinct pages. */
  pages: number
  /** Ring entries, duplicates included. */
  entries: number
  /** Entries for a page that this vCPU had an entry for already. */
  duplicates: number
  bytesPerSecond: number
}

/** The entries of all dirty rings. */
export interface RingMeasurement {
  /** Those of the vCPUs: of their pages, and duplicates. */
  entries: number
  /** Entries for a page that the same vCPU had an entry for already. */
  duplicates: number
  /** Pages that more than one vCPU wrote. */
  sharedPages: number
  /** Beside `entries`: of memory that is not logged, or not there any more. */
  dropped: number
  /** Beside `entries`: known to be lost. Above 0 only when the measurement is not complete. */
  lost: number
}

/** What page sampling looked at. */
export interface SamplingMeasurement {
  samples: number
  /** Samples that had changed. */
  hits: number
  /** Samples that were all zeros at the first look. */
  zeroPages: number
  samplesPerGiB: number
}

/** How fast a VM dirtied its memory in one window. */
export interface DirtyRateMeasurement {
  schemaVersion: 1
  /** The target's URI. */
  target: string
  mode: Mode
  /** ISO 8601. */
  startedAt: string
  /**
   * As asked for, in ms; from the first CLEAR to the last GET, in ns; and the spread between the blocks' own windows, in ns. In mode
   * page-sampling the mean of the samples' own windows, and the longest less the shortest.
   */
  window: { requestedMs: number; ns: number; skewNs: number }
  /** Sum over blocks of dirty bytes by the block's own window. */
  bytesPerSecond: number
  /** Of `bytesPerSecond`. */
  interval: Interval
  /** Distinct pages; absent where unknowable. */
  pages?: number
  /** Bytes. */
  pageSize: number
  /** Those that went away within the window too, if anything of them counts. */
  blocks?: BlockMeasurement[]
  /** Mode dirty-ring only. */
  vcpus?: VcpuMeasurement[]
  /** Mode page-sampling only: what was looked at, what of it had changed, what of it was zero. */
  sampling?: SamplingMeasurement
  /** Mode dirty-ring only. */
  ring?: RingMeasurement
  cost?: Cost
  /** False: the figure is a lower bound, and `warnings` say why. */
  complete: boolean
  /**
   * `WINDOW_MISMATCH`: the window was longer or shorter than asked for by more than its own sync explains: by a tenth, and by at least
   * 10 ms. `LOG_LEFT_ON`: the result is right, but the log could not be turned off after it.
   * `RING_OVERRUN`: entries of a dirty ring were lost. `BLOCK_REMOVED`: a block went away within the window, and counts by what was
   * written before; that takes nothing from the figure. `RING_UNAVAILABLE`: the VM was to have dirty rings, and the kernel has none.
   */
  warnings: Warning[]
  /** The same result as QEMU's query-dirty-rate would give it. */
  qapi: DirtyRateInfo
}

/** A measurement of a VM that runs one of the built-in workloads has the guest's own count beside it. */
export interface VirtualMachineMeasurement extends DirtyRateMeasurement {
  /** Pages that the guest wrote in this window: `low` surely, `high` possibly, `pages` by its counters as they were read. */
  truth?: Truth
}

/** What a mode knows of one window. */
export interface Figures
  extends Pick<
    VirtualMachineMeasurement,
    | 'mode'
    | 'window'
    | 'bytesPerSecond'
    | 'interval'
    | 'blocks'
    | 'vcpus'
    | 'sampling'
    | 'ring'
    | 'complete'
    | 'warnings'
    | 'truth'
  > {
  pages: number
  cost: Cost
  /** How much later than the deadline the window's sync, or second look, began. */
  lateNs: number
  /** How much longer than asked for the window may be because of its own sync, or looks. */
  explainedNs: number
  /** Of a curve by page sampling: pages first seen dirty since the point before, with its own interval. */
  increment?: { pages: number; low: number; high: number }
  /** What QEMU's own answer depends on the mode for. */
  qapi: Pick<DirtyRateInfo, 'dirty-rate' | 'sample-pages' | 'vcpu-dirty-rate'>
}

/** What does not depend on the mode. */
export interface Frame {
  target: string
  startedAt: Date
  pageSize: number
}

/** A window's figures as a result. */
export function measurementOf(
  figures: Figures,
  { target, startedAt, pageSize }: Frame,
): VirtualMachineMeasurement {
  const { mode, window, bytesPerSecond, interval, pages, blocks, vcpus, sampling, ring, cost } = figures
  return {
    schemaVersion: 1,
    target,
    mode,
    startedAt: startedAt.toISOString(),
    window,
    bytesPerSecond,
    interval,
    pages,
    pageSize,
    ...(blocks === undefined ? {} : { blocks }),
    ...(vcpus === undefined ? {} : { vcpus }),
    ...(sampling === undefined ? {} : { sampling }),
    ...(ring === undefined ? {} : { ring }),
    cost,
    complete: figures.complete,
    warnings: figures.warnings,
    qapi: measuredInfo({ mode, startedAt, window, figures: figures.qapi }),
    ...(figures.truth === undefined ? {} : { truth: figures.truth }),
  }
}
