/** The result of a measurement: one type for every mode, which is also the JSON that the command prints. */

import { measuredInfo } from '../qapi/arithmetic.js'
import type { DirtyRateInfo, Mode } from '../qapi/types.js'
import type { RingReap, Truth, VcpuReap } from '../targets/vm/reports.js'
import type { BlockMeasurement } from './blocks.js'

/** The bounds of a figure. `confidence` 1 means that the figure is exact, `high` null that no upper bound is known. */
export interface Interval {
  low: number
  high: number | null
  confidence: number
}

/** What a user of a result should know: a stable `code`, and a sentence. */
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
  /** The re-protection alone, in `startNs` and `syncNs` together. */
  clearNs: number
  /** Emptying dirty rings; 0 in other modes. */
  harvestNs: number
  /** Counting: step 5. */
  reapNs: number
  /** The time inside the kernel, in all steps together. */
  ioctlNs: number
  /** The longest single call that held the kernel's lock on this VM's memory: a vCPU that faults waits up to this. */
  longestLockNs: number
  /** Mode page-sampling only: hashing the samples at both ends of the window. */
  hashNs?: number
}

/** One vCPU's share, by its own dirty ring. A page that several vCPUs wrote counts for each of them. */
export type VcpuMeasurement = VcpuReap

/** The entries of all dirty rings. */
export type RingMeasurement = RingReap

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
   * `requestedMs` was asked for. `ns` is the time from the first CLEAR to the last GET, and `skewNs` the spread between the blocks' own
   * windows. In mode page-sampling `ns` is the mean of the samples' own windows, and `skewNs` the longest less the shortest.
   */
  window: { requestedMs: number; ns: number; skewNs: number }
  /** The sum over all blocks of their dirty bytes, each divided by the block's own window. */
  bytesPerSecond: number
  /** The bounds of `bytesPerSecond`. */
  interval: Interval
  /** Distinct pages; absent if they cannot be known. */
  pages?: number
  /** Bytes. */
  pageSize: number
  /** Also blocks that were removed within the window, if they contribute anything. */
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
