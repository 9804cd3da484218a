/** The curve U(t): distinct pages dirtied in a window of t, for every window from one run. */

import type { Figures, Frame, Interval, SamplingMeasurement } from './measurement.js'
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

interface CommonCurve extends Frame {
  /** The bytes of a page. Absent where pages are not counted. */
  readonly pageSize?: number
  /** False if the points are lower bounds from some window on. `warnings` then say why. */
  readonly complete: boolean
  readonly warnings: readonly Warning[]
}

/** A curve by an exact mode. */
export interface ExactCurve<
  M extends 'dirty-bitmap' | 'dirty-ring' = 'dirty-bitmap' | 'dirty-ring',
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
export type DirtyRateCurve = ExactCurve<'dirty-bitmap'> | ExactCurve<'dirty-ring'> | SampledCurve

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
  | SampledCurve<CountedSampledPoint>
) & { readonly pageSize: number }

/** The curve of a VM whose figures are `F`. */
export type CurveOf<F extends Figures> = [F] extends [
  { readonly pages: number; readonly pageSize: number },
]
  ? CountedCurve
  : DirtyRateCurve
