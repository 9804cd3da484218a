/** A matrix is what a prediction says for each of its cells. */

import { expect, it } from 'vitest'
import { matrixOf } from '../../ts/cli/predict/matrix.js'
import type { CurveInput } from '../../ts/prediction/curve-input.js'
import { parseCurve } from '../../ts/prediction/input.js'
import { bandwidthsAround, matrixRows } from '../../ts/prediction/matrix.js'
import { predict } from '../../ts/prediction/migration.js'
import { parseMigrationOptions } from '../../ts/prediction/options.js'

const RATES = [50e6, 125e6, 1e9]
const DOWNTIMES = [0.1, 0.3, Number.POSITIVE_INFINITY]

/** A guest that changed, in two halves of one rate and of another. */
const changed = (rates: readonly number[]): CurveInput =>
  parseCurve({
    points: [0.1, 1, 10].map(seconds => {
      const bytesPerSecond = 100e6 / Math.sqrt(seconds)
      const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
      return { windowNs: seconds * 1e9, bytesPerSecond, interval }
    }),
    memory: { bytes: 2 ** 32 },
    repeated: {
      stationary: false,
      phases: rates.map((rate, at) => ({
        startedAt: '2026-01-01T00:00:00.000Z',
        rounds: 3,
        firstRound: 3 * at,
        bytesPerSecond: [rate, rate, rate],
      })),
    },
  })

it('has in each cell what a prediction of its own says', () => {
  const options = { bandwidth: '1Gbit/s', downtime: '300ms', linkBandwidth: '10Gbit/s' }
  const wanted = parseMigrationOptions(options)
  const input = changed([1e6, 400e6])
  const cells = [...matrixRows(input, wanted, RATES, DOWNTIMES)].flat()
  const expected = DOWNTIMES.flatMap(downtime =>
    RATES.map(bytesPerSecond => {
      const { verdict, totalMs } = predict(input, { ...wanted, bytesPerSecond, downtime })
      return {
        bandwidthBytesPerSecond: bytesPerSecond,
        downtimeLimitMs: Number.isFinite(downtime) ? downtime * 1000 : null,
        verdict,
        totalMs,
      }
    }),
  )
  expect(cells).toEqual(expected)
  expect(new Set(cells.map(({ verdict }) => verdict))).toEqual(new Set(['uncertain', 'converges']))
})

it('has no bandwidth that its link does not carry', () => {
  expect(bandwidthsAround(100)).toEqual([25, 50, 100, 200, 400])
  expect(bandwidthsAround(100, 250)).toEqual([25, 50, 100, 200])
})

it('ends between two rows if its caller wants that', async () => {
  const seen: (readonly [number, number])[] = []
  const made = matrixOf(
    changed([1e6, 2e6]),
    { bandwidth: '1Gbit/s', downtime: '300ms' },
    { bandwidths: ['1Gbit/s'], downtimes: ['100ms', '200ms', '300ms'] },
    option => option,
    async (rows, all) => {
      seen.push([rows, all])
      if (rows === 2) throw new Error('enough')
    },
  )
  await expect(made).rejects.toThrow('enough')
  expect(seen).toEqual([
    [0, 3],
    [1, 3],
    [2, 3],
  ])
})
