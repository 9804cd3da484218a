/** The curve U(t): distinct pages dirtied in a window of t, for every window from one run. */

import type { Mode } from '../qapi/types.js'
import type { Figures, Frame, Interval, SamplingMeasurement, Warning } from '../results/measurement.js'
import type { Truth } from '../targets/vm/reports.js'
import { isLate, skippedWarning, windowWarnings } from './warnings.js'

const NS_PER_MS = 1e6

/** One window of a curve. All windows open at the same time, so each point's pages are among the next one's. */
export interface DirtyRatePoint {
  /** How long the window was. */
  windowNs: number
  /** How long it was to be. */
  requestedMs: number
  /** Distinct pages. */
  pages: number
  /** The same pages in bytes. */
  bytes: number
  bytesPerSecond: number
  /** The bounds of `bytesPerSecond`. */
  interval: Interval
  /**
   * Mode page-sampling only: pages first seen dirty since the point before, with bounds of their own. Use them, and not the difference
   * between two points, because the points share their samples.
   */
  increment?: { pages: number; low: number; high: number }
  /** Mode page-sampling only: what was looked at, and what of it had changed by then. */
  sampling?: SamplingMeasurement
  /** What the guest wrote in this window by its own count, if it is a built-in workload. */
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
  /** In ascending order of their windows. A window that was not measured has no point, and `warnings` name it. */
  points: DirtyRatePoint[]
  /** False if the points are lower bounds from some window on; `warnings` then say why. */
  complete: boolean
  warnings: Warning[]
}

/**
 * The figures of all windows as a curve. A window that ended only when the next one was due too, because the host stood still or was too
 * slow, has no point, because its point would repeat the next one's. `warnings` name each such window, and each that was too long or short.
 */
export function curveOf(figures: readonly Figures[], frame: Frame): DirtyRateCurve {
  const { target, startedAt, pageSize } = frame
  const last = figures.at(-1)
  if (last === undefined) throw new RangeError('a curve has at least one window')
  const { had, warnings } = windowsHad(figures)
  return {
    schemaVersion: 1,
    target,
    mode: last.mode,
    startedAt: startedAt.toISOString(),
    pageSize,
    points: had.map(({ window, pages, bytesPerSecond, interval, increment, sampling, truth }) => ({
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
    warnings: [...warnings, ...last.warnings],
  }
}

/** The windows that ended before the next one was due, which each have a point, and the warnings about all windows. */
function windowsHad(figures: readonly Figures[]): { had: Figures[]; warnings: Warning[] } {
  const had: Figures[] = []
  const warnings: Warning[] = []
  let skipped: Figures[] = []
  for (const [at, of] of figures.entries()) {
    const next = figures[at + 1]
    const endedMs = of.window.requestedMs + of.lateNs / NS_PER_MS
    if (next !== undefined && isLate(of) && endedMs >= next.window.requestedMs) {
      skipped.push(of)
      continue
    }
    had.push(skipped.reduceRight((later, earlier) => joined(earlier, later), of))
    if (skipped.length > 0) {
      const requestedMs = skipped.map(({ window }) => window.requestedMs)
      warnings.push(skippedWarning(requestedMs, of.window.ns / NS_PER_MS))
    }
    warnings.push(...windowWarnings(of))
    skipped = []
  }
  return { had, warnings }
}

/** `later` in place of both: what was first seen dirty in `earlier`, which has no point, counts as first seen in `later`. */
function joined(earlier: Figures, later: Figures): Figures {
  if (earlier.increment === undefined || later.increment === undefined) return later
  const { pages, low, high } = earlier.increment
  return {
    ...later,
    increment: {
      pages: pages + later.increment.pages,
      low: low + later.increment.low,
      high: high + later.increment.high,
    },
  }
}
