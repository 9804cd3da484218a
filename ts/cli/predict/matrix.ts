/** The verdict for the bandwidths and the downtimes of a command line. */

import { argumentError } from '../../ground/errors.js'
import type { CurveInput } from '../../prediction/curve-input.js'
import {
  bandwidthsAround,
  downtimesAround,
  type Matrix,
  type MatrixCell,
  matrixRows,
} from '../../prediction/matrix.js'
import {
  type MigrationOptions,
  type Naming,
  parseMigrationOptions,
} from '../../prediction/options.js'

export interface MatrixAxes {
  bandwidths: string[]
  downtimes: string[]
}

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

/**
 * All cells. One bandwidth or downtime stands for itself and for some multiples of it. `between` is
 * called before each row, with how many of all rows there are; if it rejects, so does this.
 */
export async function matrixOf(
  input: CurveInput,
  options: MigrationOptions,
  { bandwidths, downtimes }: MatrixAxes,
  named: Naming<MigrationOptions>,
  between: (rows: number, all: number) => Promise<void>,
): Promise<Matrix> {
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
      : bandwidthsAround(one.bytesPerSecond, one.linkBytesPerSecond)
  const seconds =
    moreDowntimes.length > 0 || !Number.isFinite(one.downtime)
      ? downtimes.map(text => wanted(firstBandwidth, text).downtime)
      : downtimesAround(one.downtime)
  const matrix: MatrixCell[][] = []
  const rows = matrixRows(input, one, rates, seconds)
  for (const _ of seconds) {
    await between(matrix.length, seconds.length)
    const { value } = rows.next()
    if (value !== undefined) matrix.push(value)
  }
  return { profile: one.profile.name, matrix }
}
