/**
 * The published curve of a memcached guest, and the 48 estimates that its author's script made from
 * it: A. Gudkov, 'Migration time prediction using calc-dirty-rate', qemu-devel, 2023. The file has
 * facts only.
 */

import { describe, expect, it } from 'vitest'
import { predictMigration } from '../../ts/prediction/index.js'
import { bandwidthOf, published } from './published.js'

const { downtimeMs, byBandwidthGbps } = published.publishedEstimatesSeconds
const cells = Object.entries(byBandwidthGbps).flatMap(([gbps, row]) =>
  row.map((seconds, at) => ({ gbps, downtime: downtimeMs[at] ?? null, seconds })),
)

it('has 48 cells', () => expect(cells).toHaveLength(48))

describe('profile gudkov-2023', () => {
  it.each(cells)('$gbps Gbps, $downtime ms: $seconds s', ({ gbps, downtime, seconds }) => {
    const prediction = predictMigration(published, {
      bandwidth: bandwidthOf(gbps),
      downtime: downtime ?? 'unlimited',
      profile: 'gudkov-2023',
    })
    expect(prediction.verdict).toBe(seconds === null ? 'stalls' : 'converges')
    expect(prediction.totalMs.value).toBe(seconds === null ? null : seconds * 1000)
  })
})

describe('profile qemu', () => {
  it.each([125, 250, 500])('does not know 5 Gbps and %i ms', downtime => {
    const options = { bandwidth: bandwidthOf('5'), downtime }
    expect(predictMigration(published, options).verdict).toBe('uncertain')
  })

  it('knows the bandwidths that are far from the edge', () => {
    const at = (gbps: string, downtime: number): string =>
      predictMigration(published, { bandwidth: bandwidthOf(gbps), downtime }).verdict
    expect(at('0.1', 1000)).toBe('stalls')
    expect(at('1', 1000)).toBe('stalls')
    expect(at('25', 1000)).toBe('converges')
    expect(at('40', 250)).toBe('converges')
  })
})
