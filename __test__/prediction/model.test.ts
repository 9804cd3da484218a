/** The parts of the model, each compared with a formula. */

import { expect, it } from 'vitest'
import { sortedBoth } from '../../ts/prediction/arrangement.js'
import { chanceOfRound, chanceOfWindow } from '../../ts/prediction/chance.js'
import { coarse } from '../../ts/prediction/coarse.js'
import { leastLeft, leastLeftOfRandom, meanLeft } from '../../ts/prediction/convergence.js'
import { Growth, sumOf } from '../../ts/prediction/growth.js'
import { parseCurve } from '../../ts/prediction/input.js'
import { predictMigration } from '../../ts/prediction/migration.js'
import { modelOf } from '../../ts/prediction/model.js'
import { deviations } from '../../ts/prediction/normal.js'
import { maySweep } from '../../ts/prediction/sweeping.js'
import { randomFrom } from './writers.js'

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
  expect(Math.abs(meanLeft([growth], growth, 1000, 0) / expected - 1)).toBeLessThan(0.01)
})

it('a round between two looks leaves what it dirties, and less over many chunks', () => {
  const growth = new Growth(WINDOWS.map(t => [t, random(t)]))
  const round = growth.lastAbove(1000)
  expect(meanLeft([growth], growth, 1000, round)).toBeCloseTo(growth.at(round), 6)
  const chunks = Array.from({ length: 1000 }, () => growth.scaled(1 / 1000))
  const mean = meanLeft([growth], growth, 1000, 0)
  expect(Math.abs(meanLeft(chunks, growth, 1000, round) / mean - 1)).toBeLessThan(0.001)
})

it('knows by how much the pages that happen to be dirty differ', () => {
  const growth = new Growth(WINDOWS.map(t => [t, random(t)]))
  const next = randomFrom(5)
  const deviation = (chances: readonly number[]): number => {
    const counts = Array.from({ length: 400 }, () => chances.filter(p => next() < p).length)
    const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length
    return Math.sqrt(counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / counts.length)
  }
  // The deviation of 400 draws is known to a 28th of it; five deviations count.
  for (const t of [0.5, 5, 20]) {
    const drawn = deviation(Array.from({ length: PAGES }, () => random(t) / PAGES))
    expect(Math.abs(chanceOfWindow(growth, t) / (5 * drawn) - 1)).toBeLessThan(4 / 28)
    const ages = Array.from({ length: PAGES }, (_, at) => (t * (at + 0.5)) / PAGES)
    const drawnOfAges = deviation(ages.map(age => random(age) / PAGES))
    expect(Math.abs(chanceOfRound(growth, t) / (5 * drawnOfAges) - 1)).toBeLessThan(4 / 28)
  }
})

it('leaves at least half of a round, in whichever chunks random writers are', () => {
  const mixed = (t: number): number =>
    600 * -Math.expm1(-t * 2) + 3000 * -Math.expm1(-t / 4) + 6000 * -Math.expm1(-t / 40)
  for (const of of [random, mixed]) {
    const total = new Growth(WINDOWS.map(t => [t, of(t)])).concave()
    const possible = { total, parts: [{ memoryPages: 20_000, growth: total }] }
    for (const rate of [200, 500, 800, 1000, 1200]) {
      const least = (order: 'fast-first' | 'slow-first'): number =>
        leastLeft(sortedBoth(possible, 16)[order === 'fast-first' ? 0 : 1], rate)
      const bound = leastLeftOfRandom(total, rate)
      const [fast, slow] = [least('fast-first'), least('slow-first')]
      // The same curve may have any order of its writers, and the bound holds for all.
      expect(Math.min(fast, slow)).toBeGreaterThanOrEqual(bound)
      expect(bound).toBeGreaterThan(0.4 * Math.min(fast, slow))
    }
  }
})

it('the regions of each bound add up to it, also where no page was seen dirty', () => {
  const interval = { low: 0, high: 4e6, confidence: 0.95 }
  const model = modelOf(
    parseCurve({
      points: [{ windowNs: 1e9, pages: 0, bytesPerSecond: 0, interval }],
      memory: { bytes: 3 * 2 ** 20 },
      regions: [2, 1].map((mib, at) => ({
        block: 'ram',
        offset: at * 2 ** 21,
        bytes: mib * 2 ** 20,
        pages: [0],
      })),
    }),
    undefined,
    false,
  )
  const { total, parts } = model.high
  const sum = sumOf(parts.map(({ growth }) => growth))
  expect(total.at(1)).toBeGreaterThan(500)
  for (const t of [0.5, 1, 2]) expect(sum.at(t)).toBeCloseTo(total.at(t), 6)
  expect(parts[0]?.growth.at(1)).toBeCloseTo((total.at(1) * 2) / 3, 6)
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

it('leaves out points and regions of a large curve, and no bound becomes narrower', () => {
  const of = (chunk: number, t: number): number => (100 + chunk) * -Math.expm1(-t * (1 + chunk / 9))
  const curve = (windows: readonly number[]) => {
    const columns = Array.from({ length: 300 }, (_, chunk) => windows.map(t => of(chunk, t)))
    return {
      points: windows.map((t, at) => {
        const pages = columns.reduce((sum, column) => sum + (column[at] ?? 0), 0)
        const bytesPerSecond = (pages * 4096) / t
        const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
        return { windowNs: t * 1e9, pages, bytesPerSecond, interval }
      }),
      memory: { bytes: 300 * 2 ** 21 },
      regions: columns.map((pages, at) => ({
        block: 'ram',
        offset: at * 2 ** 21,
        bytes: 2 ** 21,
        pages,
      })),
    }
  }
  const windows = Array.from({ length: 1000 }, (_, at) => 0.01 * (at + 1))
  const small = coarse(parseCurve(curve(windows)))
  expect([small.points.length, small.regions.length]).toEqual([expect.any(Number), 60])
  expect(small.points.length).toBeLessThanOrEqual(257)
  expect([small.points[0]?.seconds, small.points.at(-1)?.seconds]).toEqual([0.01, 10])
  for (const [at, { pages }] of small.points.entries()) {
    const sum = small.regions.reduce((all, region) => all + (region.pages[at] ?? 0), 0)
    expect(sum).toBeCloseTo(pages, 6)
  }
  const model = modelOf(parseCurve(curve(windows)), undefined, false)
  for (const t of [0.004, 0.01, 0.055, 0.777, 3.2, 9.99]) {
    const exact = Array.from({ length: 300 }, (_, chunk) => of(chunk, t)).reduce((a, b) => a + b)
    expect(model.low.total.at(t)).toBeLessThanOrEqual(exact * (1 + 1e-9))
    expect(model.high.total.at(t)).toBeGreaterThanOrEqual(exact * (1 - 1e-9))
  }
})
