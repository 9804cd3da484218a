/** A chunk of a VMM that has several of the regions in which the curve was measured. */

import { expect, it } from 'vitest'
import { byChunks } from '../../ts/prediction/chunks.js'
import { predictMigration } from '../../ts/prediction/index.js'
import { parseCurve } from '../../ts/prediction/input.js'
import { parseProfile } from '../../ts/prediction/profiles.js'
import { simulate } from './simulator.js'
import { packedPages, spreadPages, uniform } from './writers.js'

const PAGE = 4096
const PAGES = 4096
const REGIONS = 32
const REGION = PAGES / REGIONS
const LINK = PAGES / 8
const WINDOWS = Array.from({ length: 60 }, (_, at) => 0.01 * 6000 ** (at / 59))
const MEMORY = { chunks: REGIONS, chunkPages: REGION }

const GUESTS = {
  spread: (rate: number) => uniform(MEMORY, spreadPages(MEMORY, 2048), rate, 1),
  packed: (rate: number) => uniform(MEMORY, packedPages(1000, 1500), rate, 5),
}

function curveOf(guest: ReturnType<typeof uniform>) {
  const columns = guest.chunks.map(of => WINDOWS.map(t => Math.min(of(t), REGION)))
  return {
    pageSize: PAGE,
    points: WINDOWS.map((seconds, at) => {
      const pages = columns.reduce((sum, column) => sum + (column[at] ?? 0), 0)
      const bytesPerSecond = (pages * PAGE) / seconds
      const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
      return { windowNs: seconds * 1e9, pages, bytesPerSecond, interval }
    }),
    memory: { bytes: PAGES * PAGE },
    regions: columns.map((pages, at) => ({
      block: 'ram',
      offset: at * REGION * PAGE,
      bytes: REGION * PAGE,
      pages,
    })),
  }
}

it.each(
  (['spread', 'packed'] as const).flatMap(kind =>
    [2, 8, 32].flatMap(regions => [0.5, 0.8, 1.2].map(ratio => [kind, regions, ratio] as const)),
  ),
)(
  'agrees with the simulation: %s, %d regions in a chunk, %d of the link',
  (kind, regions, ratio) => {
    const chunkPages = regions * REGION
    const profile = parseProfile({
      clearing: { chunkBytes: chunkPages * PAGE },
      headerBytes: 0,
      zeroPageBytes: 0,
    })
    for (const downtime of [0.05, 0.3, 1]) {
      const guest = GUESTS[kind](ratio * LINK)
      const simulated = simulate({
        profile,
        pages: PAGES,
        chunkPages,
        pagesPerSecond: LINK,
        thresholdPages: LINK * downtime,
        writer: guest.writer(),
        patience: 120,
      })
      const options = { bandwidth: LINK * PAGE, downtime: downtime * 1000, profile }
      const { verdict, totalMs } = predictMigration(curveOf(guest), options)
      const ms = simulated.seconds * 1000
      if (verdict !== 'uncertain') expect(verdict === 'converges').toBe(simulated.converged)
      if (verdict !== 'converges') continue
      expect(totalMs.low ?? Infinity).toBeLessThanOrEqual(ms)
      expect(totalMs.high ?? Infinity).toBeGreaterThanOrEqual(ms)
      // docs/prediction.md says 11 %, from the 4,410 cases of the agreement set.
      expect(Math.abs((totalMs.value ?? Infinity) / ms - 1)).toBeLessThan(0.11)
    }
  },
)

it('begins its chunks where a RAM block begins', () => {
  const regions = ['a', 'a', 'a', 'b', 'b'].map((block, at) => ({
    block,
    offset: 0,
    bytes: 2 ** 30,
    pages: [2 ** at],
  }))
  const interval = { low: 31 * PAGE, high: 31 * PAGE, confidence: 1 }
  const points = [{ windowNs: 1e9, pages: 31, bytesPerSecond: 31 * PAGE, interval }]
  const input = parseCurve({ points, regions, memory: { bytes: 5 * 2 ** 30 } })
  const pages = (chunkBytes: number) => byChunks(input, chunkBytes).regions.map(one => one.pages[0])
  expect(pages(2 ** 30)).toEqual([1, 2, 4, 8, 16])
  expect(pages(2 ** 31)).toEqual([1 + 2, 4, 8 + 16])
  expect(pages(2 ** 40)).toEqual([1 + 2 + 4, 8 + 16])
  // What is in a region nobody knows.
  expect(pages(2 ** 20)).toEqual([1, 2, 4, 8, 16])
})
