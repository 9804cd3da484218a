/** The verdict for several bandwidths and downtimes. */

import { argumentError } from '../../ground/errors.js'
import type { CurveInput } from '../../prediction/curve-input.js'
import type { Figure, Verdict } from '../../prediction/figure.js'
import { predictBriefly } from '../../prediction/migration.js'
import {
  LONGEST_MS,
  type MigrationOptions,
  type Naming,
  parseMigrationOptions,
} from '../../prediction/options.js'

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

export interface MatrixAxes {
  bandwidths: string[]
  downtimes: string[]
}

/** What is tried around a single bandwidth or downtime. */
const AROUND = [1 / 4, 1 / 2, 1, 2, 4]
const MOST = 32

/** The bandwidths and the downtimes, each of them separated by commas. */
export function parseAxes({
  bandwidth,
  downtime = '',
}: {
  bandwidth: string
  downtime?: string
}): MatrixAxes {
  return {
    bandwidths: listOf(bandwidth, '--bandwidth'),
    downtimes: listOf(downtime, '--downtime'),
  }
}

function listOf(text: string, name: string): string[] {
  const list = text.split(',').map(part => part.trim())
  if (list.length > MOST)
    throw argumentError(`${name}: ${list.length} values are too many`, `Give at most ${MOST}.`)
  return list
}

/** All cells. One bandwidth or downtime stands for itself and for some multiples of it. */
export function matrixOf(
  input: CurveInput,
  options: MigrationOptions,
  { bandwidths, downtimes }: MatrixAxes,
  named: Naming<MigrationOptions>,
): Matrix {
  const wanted = (
    bandwidth: MigrationOptions['bandwidth'],
    downtime: MigrationOptions['downtime'],
  ) => parseMigrationOptions({ ...options, bandwidth, downtime }, named)
  const [firstBandwidth = '', ...moreBandwidths] = bandwidths
  const [firstDowntime = '', ...moreDowntimes] = downtimes
  const one = wanted(firstBandwidth, firstDowntime)
  const rates =
    moreBandwidths.length > 0
      ? bandwidths.map(text => wanted(text, firstDowntime).bytesPerSecond)
      : AROUND.map(factor => one.bytesPerSecond * factor)
  const seconds =
    moreDowntimes.length > 0 || !Number.isFinite(one.downtime)
      ? downtimes.map(text => wanted(firstBandwidth, text).downtime)
      : // Not more than --downtime itself takes.
        AROUND.map(factor => one.downtime * factor).filter(time => time * 1000 <= LONGEST_MS)
  return {
    profile: one.profile.name,
    matrix: seconds.map(downtime =>
      rates.map(bytesPerSecond => ({
        bandwidthBytesPerSecond: bytesPerSecond,
        downtimeLimitMs: Number.isFinite(downtime) ? downtime * 1000 : null,
        ...predictBriefly(input, { ...one, bytesPerSecond, downtime }),
      })),
    ),
  }
}
