/** The curve U(t): distinct pages dirtied in a window of t, for every window from one run. */

import type { Mode } from '../qapi/types.js'
import type { Truth } from '../reports.js'
import type { Figures, Frame, Interval, SamplingMeasurement, Warning } from './result.js'
import { isLate, skippedWarning, windowWarnings } from './warnings.js'

const NS_PER_MS = 1e6

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
  /** By window, ascending: those that were had. `warnings` name the others. */
  points: DirtyRatePoint[]
  /** False: the points are lower bounds from some window on, and `warnings` say why. */
  complete: boolean
  warnings: Warning[]
}

/**
 * The figures of all windows as a curve. A window that was not over before the next one, because the host stood still or was too slow, has
 * no point: it would be the next one's again. `warnings` name each window that was not had, or not as it was asked for.
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

/** The windows that were over before the next one, which each have a point, and what is to be said of all of them. */
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

/** `later`, which is the first point after the one before `earlier`: what either saw first is first seen there. */
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
