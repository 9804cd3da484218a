/** The curve U(t): distinct pages dirtied in a window of t, for every window from one run. */

import type { Mode } from '../qapi/types.js'
import type { Truth } from '../reports.js'
import type { Figures, Frame, Interval, SamplingMeasurement, Warning } from './result.js'

/** One window of a curve. All windows have one opening: each point's pages are among the next one's. */
export interface DirtyRatePoint {
  /** As it was. */
  windowNs: number
  /** As asked for. */
  requestedMs: number
  /** Distinct pages. */
  pages: number
  /** The same in bytes. */
  bytes: number
  bytesPerSecond: number
  /** Of `bytesPerSecond`. */
  interval: Interval
  /**
   * Mode page-sampling only: pages first seen dirty since the point before, with an interval of its own. The points share their samples,
   * so these are what a difference between two of them is worth.
   */
  increment?: { pages: number; low: number; high: number }
  /** Mode page-sampling only: what was looked at, and what of it had changed by then. */
  sampling?: SamplingMeasurement
  /** As of a measurement, where the guest counts itself. */
  truth?: Truth
}

/** U(t) from one run. */
export interface DirtyRateCurve {
  schemaVersion: 1
  /** The target's URI. */
  target: string
  mode: Mode
  /** ISO 8601. */
  startedAt: string
  /** Bytes. */
  pageSize: number
  /** By window, ascending. */
  points: DirtyRatePoint[]
  /** False: the points are lower bounds from some window on, and `warnings` say why. */
  complete: boolean
  warnings: Warning[]
}

/** The figures of all windows as a curve. */
export function curveOf(figures: readonly Figures[], frame: Frame): DirtyRateCurve {
  const { target, startedAt, pageSize } = frame
  const last = figures.at(-1)
  if (last === undefined) throw new RangeError('a curve has at least one window')
  return {
    schemaVersion: 1,
    target,
    mode: last.mode,
    startedAt: startedAt.toISOString(),
    pageSize,
    points: figures.map(({ window, pages, bytesPerSecond, interval, increment, sampling, truth }) => ({
      windowNs: window.ns,
      requestedMs: window.requestedMs,
      pages,
      bytes: pages * pageSize,
      bytesPerSecond,
      interval,
      ...(increment === undefined ? {} : { increment }),
      ...(sampling === undefined ? {} : { sampling }),
      ...(truth === undefined ? {} : { truth }),
    })),
    complete: figures.every(({ complete }) => complete),
    warnings: last.warnings,
  }
}
