/** The verdict for several bandwidths and downtimes. */

import type { CurveInput } from './curve-input.js'
import type { Figure, Verdict } from './figure.js'
import { figuresOf } from './figures.js'
import { scenariosOf, verdictsIn } from './migration.js'
import { LONGEST_MS, type Wanted } from './options.js'

export interface MatrixCell {
  bandwidthBytesPerSecond: number
  /** Null if it is not limited. */
  downtimeLimitMs: number | null
  verdict: Verdict
  totalMs: Figure
}

export interface Matrix {
  profile: string
  /** One row for each downtime, with one cell for each bandwidth. */
  matrix: MatrixCell[][]
}

/** What is tried around a single bandwidth or downtime. */
const AROUND = [1 / 4, 1 / 2, 1, 2, 4]

/** In bytes per second; no more than a link carries. */
export const bandwidthsAround = (
  bytesPerSecond: number,
  link: number = Number.POSITIVE_INFINITY,
): number[] => AROUND.map(factor => bytesPerSecond * factor).filter(rate => rate <= link)

/** In seconds; no longer than a downtime may be. */
export const downtimesAround = (seconds: number): number[] =>
  AROUND.map(factor => seconds * factor).filter(time => time * 1000 <= LONGEST_MS)

/**
 * The rows of a matrix, for rates in bytes per second and downtimes in seconds. Each row is made
 * when it is asked for, so that a caller can show it, or end, before the next one.
 */
export function* matrixRows(
  input: CurveInput,
  wanted: Wanted,
  rates: readonly number[],
  downtimes: readonly number[],
): Generator<MatrixCell[], void, undefined> {
  const scenarios = scenariosOf(input, wanted)
  for (const downtime of downtimes) {
    const settings = rates.map(bytesPerSecond => ({ bytesPerSecond, downtime }))
    yield verdictsIn(scenarios, input, settings).map((verdict, at) => {
      const { [at]: setting = wanted } = settings
      return {
        bandwidthBytesPerSecond: setting.bytesPerSecond,
        downtimeLimitMs: Number.isFinite(downtime) ? downtime * 1000 : null,
        verdict,
        totalMs: figuresOf(scenarios, verdict, setting).totalMs,
      }
    })
  }
}
