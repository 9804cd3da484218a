/** The verdict for several bandwidths and downtimes. */

import type { CurveInput } from './curve-input.js'
import type { Figure, Verdict } from './figure.js'
import { predictBriefly } from './migration.js'
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

export const bandwidthsAround = (bytesPerSecond: number): number[] =>
  AROUND.map(factor => bytesPerSecond * factor)

/** In seconds; no longer than a downtime may be. */
export const downtimesAround = (seconds: number): number[] =>
  AROUND.map(factor => seconds * factor).filter(time => time * 1000 <= LONGEST_MS)

/** All cells, for rates in bytes per second and downtimes in seconds. */
export function matrixFor(
  input: CurveInput,
  wanted: Wanted,
  rates: readonly number[],
  downtimes: readonly number[],
): Matrix {
  return {
    profile: wanted.profile.name,
    matrix: downtimes.map(downtime =>
      rates.map(bytesPerSecond => ({
        bandwidthBytesPerSecond: bytesPerSecond,
        downtimeLimitMs: Number.isFinite(downtime) ? downtime * 1000 : null,
        ...predictBriefly(input, { ...wanted, bytesPerSecond, downtime }),
      })),
    ),
  }
}
