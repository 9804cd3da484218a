/** The way out `compression`: a migration over a link that carries more. */

import { describe, expect, it } from 'vitest'
import { type MigrationPrediction, predictMigration } from '../../ts/prediction/index.js'

const curve = (ratio: number, compressionBytesPerSecond?: number) => ({
  pageSize: 4096,
  points: [0.1, 1, 10].map(seconds => {
    const bytesPerSecond = 400e6 / (1 + seconds)
    const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
    return { windowNs: seconds * 1e9, bytesPerSecond, interval }
  }),
  memory: {
    bytes: 4 * 2 ** 30,
    compressedRatio: { value: ratio, low: 0.9 * ratio, high: 1.1 * ratio },
    ...(compressionBytesPerSecond === undefined ? {} : { compressionBytesPerSecond }),
  },
})
const migrate = (ratio: number, bandwidth: number, rate?: number): MigrationPrediction =>
  predictMigration(curve(ratio, rate), { bandwidth, downtime: '300ms' })
const wayOf = ({ waysOut }: MigrationPrediction) => waysOut.find(way => way.kind === 'compression')

describe('compression', () => {
  it('is the migration over a link of the bandwidth divided by the ratio', () => {
    const way = wayOf(migrate(0.25, 150e6))
    const [value, low, high] = [0.25, 0.275, 0.225].map(ratio => migrate(1, 150e6 / ratio))
    expect(way?.verdict).toBe('converges')
    expect([value?.verdict, low?.verdict, high?.verdict]).toEqual(Array(3).fill('converges'))
    expect(way?.totalMs?.value).toBeCloseTo(value?.totalMs.value ?? 0, 6)
    expect(way?.totalMs?.high).toBeCloseTo(low?.totalMs.high ?? 0, 6)
    expect(way?.totalMs?.low).toBeCloseTo(high?.totalMs.low ?? 0, 6)
    expect(way?.bytesPerSecond?.value).toBeCloseTo(600e6, 3)
  })

  it('counts the channels for the best ratio, which gives the CPUs most to do', () => {
    // 100 MB/s divided by 0.225 are 444 MB/s.
    expect(wayOf(migrate(0.25, 100e6, 400e6))?.channels).toBe(2)
    expect(wayOf(migrate(0.25, 100e6, 500e6))?.channels).toBe(1)
    expect(wayOf(migrate(0.25, 100e6))?.channels).toBeUndefined()
  })

  it('is no way out of a memory that does not compress', () => {
    expect(wayOf(migrate(0.95, 100e6))).toBeUndefined()
    expect(wayOf(migrate(0.9, 100e6))?.verdict).toBe('stalls')
  })
})
