/** Compares the rounds of a repeated curve: their spread, and whether the guest changes. */

import type { CurvePhase, CurveRound, CurveSpread, RepeatedCurve } from '../results/curve.js'
import { type Point, sampledOf } from './point-means.js'
import { stationarity } from './stationarity.js'

/** What is kept of a point of one round. */
export interface KeptPoint {
  readonly bytesPerSecond: number
  readonly pages: number | undefined
  readonly sampling: Point['sampling'] | undefined
}

/** What is kept of one round: the point of each window that it measured. */
export interface KeptRound {
  readonly startedAt: string
  readonly points: ReadonlyMap<number, KeptPoint>
}

/** The rounds, compared in each of `windows`. */
export function compared(all: readonly KeptRound[], windows: readonly number[]): RepeatedCurve {
  const rounds = all.map(({ startedAt, points }): CurveRound => {
    const pages = windows.map(window => points.get(window)?.pages ?? null)
    return {
      startedAt,
      bytesPerSecond: windows.map(window => points.get(window)?.bytesPerSecond ?? null),
      ...(pages.every(value => value === null) ? {} : { pages }),
    }
  })
  // The longest window is never left out, so each round has it.
  const longest = windows.at(-1) ?? 0
  const ofLongest = all.flatMap(({ points }) => points.get(longest) ?? [])
  const sampled = ofLongest.flatMap(({ sampling }) => sampledOf(sampling))
  const { stationary, tests, phases } = stationarity(
    ofLongest.map(({ bytesPerSecond }) => bytesPerSecond),
    sampled.length === ofLongest.length ? sampled : undefined,
  )
  return {
    rounds,
    spread: windows.map((_, column) => spreadOf(known(rounds, column))),
    stationary,
    tests,
    phases: phases.map((first, at) => phaseOf(rounds, first, phases[at + 1], windows.length)),
  }
}

/** The rates of one window in the rounds that measured it. */
function known(rounds: readonly CurveRound[], column: number): number[] {
  return rounds.flatMap(({ bytesPerSecond }) => bytesPerSecond[column] ?? [])
}

function spreadOf(rates: readonly number[]): CurveSpread {
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length
  const squares = rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0)
  return {
    standardDeviation: rates.length < 2 ? 0 : Math.sqrt(squares / (rates.length - 1)),
    least: Math.min(...rates),
    most: Math.max(...rates),
  }
}

function phaseOf(
  all: readonly CurveRound[],
  first: number,
  next: number | undefined,
  windows: number,
): CurvePhase {
  const rounds = all.slice(first, next)
  const means = Array.from({ length: windows }, (_, column) => {
    const rates = known(rounds, column)
    return rates.length === 0 ? null : rates.reduce((sum, rate) => sum + rate, 0) / rates.length
  })
  return {
    firstRound: first,
    rounds: rounds.length,
    startedAt: rounds[0]?.startedAt ?? '',
    bytesPerSecond: means,
  }
}
