/** Makes a curve from the rounds of one run. */

import type { CurveOf, DirtyRateCurve, SampledPoint } from '../results/curve.js'
import type { Figures, Frame } from '../results/measurement.js'
import type { Warning } from '../results/warning.js'
import { granularityColumns, regionColumns } from './regions.js'
import type { Round } from './source.js'
import { isLate, skippedWarning, windowWarnings } from './warnings.js'

const NS_PER_MS = 1e6

/**
 * The figures of all windows as a curve. If the host stood still or was too slow, a window may have
 * ended only when the next one was due too. Such a window has no point, because it would be the
 * same as the next one's. `warnings` name each such window, and each that was too long or short.
 */
export function curveOf<F extends Figures>(rounds: readonly Round<F>[], frame: Frame): CurveOf<F> {
  const last = rounds.at(-1)
  if (last === undefined) throw new RangeError('a curve has at least one window')
  const { mode, pageSize, cost: { guest } = {} } = last.figures
  const { had, warnings } = windowsHad(rounds)
  const curve = {
    ...frame,
    mode,
    ...(pageSize === undefined ? {} : { pageSize }),
    points: had.map(pointOf),
    ...(last.regions === undefined
      ? {}
      : { regions: regionColumns(had.map(({ regions = [] }) => regions)) }),
    ...(last.granularities === undefined
      ? {}
      : { granularities: granularityColumns(had.map(({ granularities = [] }) => granularities)) }),
    ...(last.memory === undefined ? {} : { memory: last.memory }),
    ...(guest === undefined ? {} : { cost: { guest } }),
    complete: rounds.every(({ figures }) => figures.complete),
    warnings: [...warnings, ...last.figures.warnings],
  }
  // All windows were measured in one mode by one source, so all points have the members of this
  // mode, and the pages if the source counts them.
  return curve as DirtyRateCurve as CurveOf<F>
}

function pointOf({ figures, increment }: Round): Partial<SampledPoint> {
  const { window, pages, pageSize, bytesPerSecond, interval, truth } = figures
  return {
    windowNs: window.ns,
    requestedMs: window.requestedMs,
    ...(pages === undefined ? {} : { pages }),
    ...(pages === undefined || pageSize === undefined ? {} : { dirtyBytes: pages * pageSize }),
    bytesPerSecond,
    interval,
    ...(increment === undefined ? {} : { increment }),
    ...(figures.mode === 'page-sampling' ? { sampling: figures.sampling } : {}),
    ...(truth === undefined ? {} : { truth }),
  }
}

/**
 * The windows that ended before the next one was due, each of which has a point, and the warnings
 * about all windows.
 */
function windowsHad(rounds: readonly Round[]): { had: Round[]; warnings: Warning[] } {
  const had: Round[] = []
  const warnings: Warning[] = []
  let skipped: Round[] = []
  for (const [at, of] of rounds.entries()) {
    const next = rounds[at + 1]
    const endedMs = of.figures.window.requestedMs + of.lateNs / NS_PER_MS
    if (next !== undefined && isLate(of) && endedMs >= next.figures.window.requestedMs) {
      skipped.push(of)
      continue
    }
    had.push(skipped.reduceRight((later, earlier) => joined(earlier, later), of))
    if (skipped.length > 0) {
      const requestedMs = skipped.map(({ figures }) => figures.window.requestedMs)
      warnings.push(skippedWarning(requestedMs, of.figures.window.ns / NS_PER_MS))
    }
    warnings.push(...windowWarnings(of))
    skipped = []
  }
  return { had, warnings }
}

/**
 * `later` as the replacement of both windows: pages that were first seen dirty in `earlier`, which
 * has no point, count as first seen in `later`.
 */
function joined(earlier: Round, later: Round): Round {
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
