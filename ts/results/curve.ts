/** The curve U(t): distinct pages dirtied in a window of t, for every window from one run. */

import type { Figures, Frame, GuestCost, Interval, SamplingMeasurement } from './measurement.js'
import type { Mode } from './mode.js'
import type { Truth } from './truth.js'
import type { Warning } from './warning.js'

/**
 * One window of a curve. All windows open at the same instant, so each point's pages are among
 * those of the next one. A curve with the warning SEPARATE_WINDOWS is the exception.
 */
export interface DirtyRatePoint {
  /** How long the window was. */
  readonly windowNs: number
  /** The length that was asked for. */
  readonly requestedMs: number
  /** Distinct pages. Absent where they cannot be known. */
  readonly pages?: number
  /** The same pages in bytes. */
  readonly dirtyBytes?: number
  readonly bytesPerSecond: number
  /** The bounds of `bytesPerSecond`. */
  readonly interval: Interval
  /** What the guest wrote in this window by its own count, if it is a built-in guest. */
  readonly truth?: Truth
}

/** One window of a curve by page sampling. */
export interface SampledPoint extends DirtyRatePoint {
  /**
   * Pages first seen dirty since the point before, with bounds of their own. Use this, and not the
   * difference between two points, because the points share their samples. Absent where the pages
   * cannot be known.
   */
  readonly increment?: Increment
  /** The samples, and which of them had changed by then. */
  readonly sampling: SamplingMeasurement
}

/** Pages first seen dirty since the point before. */
export interface Increment {
  readonly pages: number
  readonly low: number
  readonly high: number
}

/** A figure with its bounds. If the figure is exact, both bounds are equal to it. */
export interface Bounded {
  readonly value: number
  readonly low: number
  readonly high: number
}

/**
 * One region: at most 1 GiB of one RAM block, counted from the start of the block, and not by guest
 * address. A block whose size is no multiple of 1 GiB ends with a smaller region. QEMU protects the
 * pages of a migrating VM again in these units. Each column has one number per point of the curve,
 * in the order of the points.
 */
export interface CurveRegion {
  /** The name of the RAM block. */
  readonly block: string
  /** Where the region begins in its block, in bytes: a multiple of 1 GiB. */
  readonly offset: number
  /** Where the guest sees its first byte. Absent where nobody outside of the VM knows. */
  readonly guestAddress?: number
  readonly bytes: number
  /** Distinct pages. In an exact mode the sum over all regions is the point's `pages`. */
  readonly pages: readonly number[]
  /** The bounds of `pages`, each by the region's own samples. Absent in exact modes. */
  readonly low?: readonly number[]
  readonly high?: readonly number[]
}

/**
 * The same windows in larger units than pages. Granules lie at multiples of `granuleBytes` in the
 * guest's physical address space. A RAM block that begins or ends within a granule has a part of
 * it, which counts as a granule; no granule is in two blocks. A granule is dirty if any page in it
 * is dirty. Each column has one number per point of the curve.
 */
export interface CurveGranularity {
  readonly granuleBytes: number
  readonly dirtyGranules: readonly number[]
  /** Maximal runs of dirty granules. A run ends where its RAM block ends. */
  readonly extents: readonly number[]
}

/** The memory that was measured. */
export interface CurveMemory {
  /** The size of all RAM blocks. */
  readonly bytes: number
  /**
   * Pages that hold nothing but zeros: at the beginning of a curve by page sampling, or after a
   * curve with `compressibility`.
   */
  readonly zeroPages?: Bounded
  /**
   * The compressed size of a page that is not zero, as a part of its size: what zstd makes of it at
   * level 1, which is QEMU's default. Known with `compressibility`, if enough pages hold anything.
   */
  readonly compressedRatio?: Bounded
  /** Bytes of pages that one CPU of this host compresses in a second. Known with the ratio. */
  readonly compressionBytesPerSecond?: number
}

/** One of several curves that were measured one after the other. */
export interface CurveRound {
  /** ISO 8601. */
  readonly startedAt: string
  /** One rate per point of the curve; null for a window that was not measured in this round. */
  readonly bytesPerSecond: readonly (number | null)[]
  /** Distinct pages, in the same order. Absent where they cannot be known. */
  readonly pages?: readonly (number | null)[]
}

/** How much one window differed between the rounds, in bytes per second. */
export interface CurveSpread {
  readonly standardDeviation: number
  readonly least: number
  readonly most: number
}

/**
 * A statistical test of the rates of the longest window, round by round. Its null hypothesis is
 * that the guest does not change. `mann-kendall` sees a trend, `pettitt` a change at one instant,
 * and `dispersion`, which is of page sampling only, differences that are larger than those of
 * samples.
 */
export interface StationarityTest {
  readonly name: 'mann-kendall' | 'pettitt' | 'dispersion'
  readonly statistic: number
  /** The chance of a statistic that is at least as extreme, from a guest that does not change. */
  readonly pValue: number
}

/** A part of the time in which the rounds are alike. */
export interface CurvePhase {
  /** The number of its first round, from 0. */
  readonly firstRound: number
  readonly rounds: number
  /** When its first round opened: ISO 8601. */
  readonly startedAt: string
  /** The mean of its rounds, one rate per point of the curve; null if none measured the window. */
  readonly bytesPerSecond: readonly (number | null)[]
}

/** Several curves, one after the other. The curve's points are their means. */
export interface RepeatedCurve {
  readonly rounds: readonly CurveRound[]
  /** One per point of the curve. */
  readonly spread: readonly CurveSpread[]
  /**
   * False if a test says that the guest changes, by more than a twentieth: then the mean is of no
   * one time. True if no test says so, which with few rounds means little.
   */
  readonly stationary: boolean
  /** Empty if there are too few rounds for any test. */
  readonly tests: readonly StationarityTest[]
  /** One phase if the guest is stationary. */
  readonly phases: readonly CurvePhase[]
}

interface CommonCurve extends Frame {
  /** The bytes of a page. Absent where pages are not counted. */
  readonly pageSize?: number
  /** The curve by region. Absent where nobody knows which pages are dirty. */
  readonly regions?: readonly CurveRegion[]
  /** The granularities that were asked for. Exact modes only. */
  readonly granularities?: readonly CurveGranularity[]
  readonly memory?: CurveMemory
  /** What the curve cost the guest; absent where KVM's statistics are not known or do not count. */
  readonly cost?: { readonly guest: GuestCost }
  /** What differs between the rounds, if several were asked for. */
  readonly repeated?: RepeatedCurve
  /** False if the points are lower bounds from some window on. `warnings` then say why. */
  readonly complete: boolean
  readonly warnings: readonly Warning[]
}

/** A curve by an exact mode. */
export interface ExactCurve<
  M extends Exclude<Mode, 'page-sampling'> = Exclude<Mode, 'page-sampling'>,
  P extends DirtyRatePoint = DirtyRatePoint,
> extends CommonCurve {
  readonly mode: M
  /**
   * In ascending order of their windows. A window that was not measured has no point, and
   * `warnings` name it.
   */
  readonly points: readonly P[]
}

/** A curve by page sampling. */
export interface SampledCurve<P extends SampledPoint = SampledPoint> extends CommonCurve {
  readonly mode: 'page-sampling'
  /**
   * In ascending order of their windows. A window that was not measured has no point, and
   * `warnings` name it.
   */
  readonly points: readonly P[]
}

/** U(t) from one run: a union by `mode`. */
export type DirtyRateCurve =
  | ExactCurve<'dirty-bitmap'>
  | ExactCurve<'dirty-ring'>
  | ExactCurve<'soft-dirty'>
  | SampledCurve

/** One window of a curve whose pages were counted. */
export type CountedPoint = DirtyRatePoint & Required<Pick<DirtyRatePoint, 'pages' | 'dirtyBytes'>>
/** One window of a curve by page sampling whose pages were estimated. */
export type CountedSampledPoint = CountedPoint &
  SampledPoint &
  Required<Pick<SampledPoint, 'increment'>>

/** U(t) of a VM whose pages are counted, as those of our own VMs are: a union by `mode`. */
export type CountedCurve = (
  | ExactCurve<'dirty-bitmap', CountedPoint>
  | ExactCurve<'dirty-ring', CountedPoint>
  | ExactCurve<'soft-dirty', CountedPoint>
  | SampledCurve<CountedSampledPoint>
) & { readonly pageSize: number }

/** The curve of a VM whose figures are `F`. */
export type CurveOf<F extends Figures> = [F] extends [
  { readonly pages: number; readonly pageSize: number },
]
  ? CountedCurve
  : DirtyRateCurve
