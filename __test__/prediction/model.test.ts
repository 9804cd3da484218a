/** The parts of the model, each compared with a formula. */

import { expect, it } from 'vitest'
import { meanLeft } from '../../ts/prediction/convergence.js'
import { Growth } from '../../ts/prediction/growth.js'
import { parseCurve } from '../../ts/prediction/input.js'
import { predictMigration } from '../../ts/prediction/migration.js'
import { deviations } from '../../ts/prediction/normal.js'
import { maySweep } from '../../ts/prediction/sweeping.js'

const WINDOWS = Array.from({ length: 80 }, (_, at) => 0.01 * 1.12 ** at)
const PAGES = 10_000
const random = (t: number): number => PAGES * -Math.expm1((-1500 * t) / PAGES)
const sweep = (t: number): number => Math.min(1500 * t, PAGES)
const curveOf = (of: (t: number) => number) => ({
  pageSize: 4096,
  points: WINDOWS.map(t => {
    const bytesPerSecond = (of(t) * 4096) / t
    const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
    return { windowNs: t * 1e9, pages: of(t), bytesPerSecond, interval }
  }),
  memory: { bytes: 20_000 * 4096 },
})

it('random writes leave W (1 - B / w) pages', () => {
  const growth = new Growth(WINDOWS.map(t => [t, random(t)]))
  const expected = PAGES * (1 - 1000 / 1500)
  expect(Math.abs(meanLeft(growth, 1000, 0) / expected - 1)).toBeLessThan(0.01)
})

it('QEMU ends where a VMM that sends whole passes does not', () => {
  const options = { bandwidth: 1000 * 4104, downtime: '4s' }
  expect(predictMigration(curveOf(random), options).totalMs.value).not.toBeNull()
  const whole = { ...options, profile: { passEnds: 'drained' as const } }
  expect(predictMigration(curveOf(random), whole).verdict).toBe('stalls')
})

/** A guest that writes nothing, with so many pages that are not zero. */
const idle = (pages: number, filled: number) => {
  const zeros = pages - filled
  const zeroPages = { value: zeros, low: zeros, high: zeros }
  return { ...curveOf(() => 0), memory: { bytes: pages * 4096, zeroPages } }
}

it('QEMU stops the guest as soon as few enough pages are left, with those of zeros', () => {
  const options = { bandwidth: 1000 * 4104, downtime: (5000 * 4096) / 4104 }
  const { passes, downtimeMs } = predictMigration(idle(10_000, 4000), options)
  // A pass over half of the memory, and the last one, which sends half of the 4000 pages.
  expect(passes.value).toBe(2)
  expect(Math.abs((downtimeMs.value ?? 0) / 2000 - 1)).toBeLessThan(0.05)
})

it('QEMU looks at each page of zeros', () => {
  const options = { bandwidth: '100Gbit/s', downtime: '1ms', profile: { zeroPageNs: 500 } }
  const { totalMs } = predictMigration(idle(2_000_000, 0), options)
  expect(Math.abs((totalMs.value ?? 0) / 1000 - 1)).toBeLessThan(0.01)
})

it('counts the pages of zeros of the last step also in the bounds of the downtime', () => {
  const [pages, filled, off] = [2 ** 20, 1000, 500]
  const zeros = { value: pages - filled, low: pages - filled - off, high: pages - filled + off }
  const curve = { ...idle(pages, filled), memory: { bytes: pages * 4096, zeroPages: zeros } }
  const options = { bandwidth: '10Gbit/s', downtime: 'unlimited' }
  const { value, low, high } = predictMigration(curve, options).downtimeMs
  // Each page that may hold something costs its transfer, in place of the look at a page of zeros.
  const each = (4104 / 1.25e9) * 1000 - 310e-6
  expect((high ?? 0) - (value ?? 0)).toBeGreaterThanOrEqual(off * each)
  expect((value ?? 0) - (low ?? 0)).toBeCloseTo(off * each, 6)
})

it('takes any time for a page of zeros that a host can need', () => {
  const profiled = (zeroPageNs: number): unknown =>
    predictMigration(idle(1000, 0), {
      bandwidth: '1Gbit/s',
      downtime: '1s',
      profile: { zeroPageNs },
    })
  expect(profiled(1_000_000)).toMatchObject({ verdict: 'converges' })
  expect(() => profiled(1_000_001)).toThrow(/^profile\.zeroPageNs: 1000001 is out of range$/)
})

it('knows a sweep from random writes', () => {
  expect(maySweep(parseCurve(curveOf(sweep)))).toBe(true)
  expect(maySweep(parseCurve(curveOf(random)))).toBe(false)
})

it('has the quantiles of the normal distribution', () => {
  expect(deviations(0.95)).toBeCloseTo(1.96, 2)
  expect(deviations(0.99)).toBeCloseTo(2.576, 2)
})
