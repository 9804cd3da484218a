import { describe, expect, it } from 'vitest'
import type { DirtyRateCurve } from '../../ts/index.js'
import { curveOf } from '../../ts/measurement/curve.js'
import { Meter } from '../../ts/measurement/meter.js'
import { regionsOfBlock } from '../../ts/measurement/regions.js'
import { RepeatedCurves } from '../../ts/measurement/repeated.js'
import { parseRepetition } from '../../ts/measurement/repetition.js'
import type { Method, Round, Source } from '../../ts/measurement/source.js'

const GIB = 2 ** 30
const frame = { schemaVersion: 1, target: 'pid:1', startedAt: '2026-01-01T00:00:00.000Z' } as const

/** One exact window, `lateMs` after its deadline, with the pages of each region. */
function round(requestedMs: number, pages: readonly number[], lateMs = 0, bytes = 3 * GIB): Round {
  const total = pages.reduce((sum, of) => sum + of, 0)
  const ns = (requestedMs + lateMs) * 1e6
  const rate = (total * 4096 * 1e9) / ns
  return {
    figures: {
      mode: 'dirty-bitmap',
      window: { requestedMs, ns },
      bytesPerSecond: rate,
      interval: { low: rate, high: rate, confidence: 1 },
      pages: total,
      pageSize: 4096,
      complete: true,
      warnings: [],
    },
    lateNs: lateMs * 1e6,
    explainedNs: 0,
    regions: regionsOfBlock({ key: '1', name: 'ram', guestAddress: 4 * GIB, bytes }, pages),
    granularities: [{ granuleBytes: 65_536, dirty: total / 2, extents: 1 }],
    memory: { bytes },
  }
}

describe('the columns of a curve', () => {
  it('have no number for a window that has no point', () => {
    // The window of 20 ms ended only when the window of 40 ms was due.
    const { points, regions, granularities, memory } = curveOf(
      [round(10, [2, 0, 0]), round(20, [4, 2, 0], 25), round(40, [8, 2, 6], 5)],
      frame,
    ) as DirtyRateCurve
    expect(points.map(({ requestedMs }) => requestedMs)).toEqual([10, 40])
    const region = { block: 'ram', bytes: GIB }
    expect(regions).toEqual([
      { ...region, offset: 0, guestAddress: 4 * GIB, pages: [2, 8] },
      { ...region, offset: GIB, guestAddress: 5 * GIB, pages: [0, 2] },
      { ...region, offset: 2 * GIB, guestAddress: 6 * GIB, pages: [0, 6] },
    ])
    expect(granularities).toEqual([
      { granuleBytes: 65_536, dirtyGranules: [1, 8], extents: [1, 1] },
    ])
    expect(memory).toEqual({ bytes: 3 * GIB })
  })

  it('have 0 for a window in which a block was not there yet', () => {
    const [first, second] = [round(10, [1]), round(20, [5, 7])]
    const { regions } = curveOf([first, second], frame) as DirtyRateCurve
    expect(regions?.map(({ pages }) => pages)).toEqual([
      [1, 5],
      [0, 7],
    ])
  })

  it('end with a region that is smaller', () => {
    const { regions } = curveOf([round(10, [1, 2], 0, GIB + 4096)], frame) as DirtyRateCurve
    expect(regions?.map(({ bytes }) => bytes)).toEqual([GIB, 4096])
  })
})

describe('a repeated curve', () => {
  const repeatedOf = (...curves: Round[][]): DirtyRateCurve => {
    const repeated = new RepeatedCurves(frame)
    curves.forEach((rounds, at) => {
      const startedAt = `2026-01-01T00:00:0${at}.000Z`
      repeated.add(curveOf(rounds, { ...frame, startedAt }) as DirtyRateCurve)
    })
    return repeated.result()
  }

  it('has the means of the rounds that measured a window', () => {
    const { points, regions, granularities, repeated, warnings } = repeatedOf(
      [round(10, [2, 0]), round(40, [8, 2])],
      // This round has no window of 10 ms.
      [round(10, [9, 9], 35), round(40, [10, 4])],
      [round(10, [4]), round(40, [12])],
    )
    expect(points.map(({ requestedMs, pages }) => [requestedMs, pages])).toEqual([
      [10, 3],
      [40, 12],
    ])
    // A region that a round does not have had no dirty page there.
    expect(regions?.map(({ pages }) => pages)).toEqual([
      [3, 10],
      [0, 2],
    ])
    expect(granularities).toMatchObject([{ dirtyGranules: [1.5, 6], extents: [1, 1] }])
    expect(
      repeated?.rounds.map(({ pages, startedAt }) => [startedAt.slice(17, 19), pages]),
    ).toEqual([
      ['00', [2, 10]],
      ['01', [null, 14]],
      ['02', [4, 12]],
    ])
    expect(repeated?.rounds[1]?.bytesPerSecond[0]).toBeNull()
    const rate = (pages: number): number => (pages * 4096 * 1000) / 40
    expect(repeated?.spread[1]).toMatchObject({ least: rate(10), most: rate(14) })
    expect(repeated?.spread[1]?.standardDeviation).toBeCloseTo(rate(2), 6)
    expect(repeated).toMatchObject({ stationary: true, tests: [] })
    expect(repeated?.phases).toMatchObject([{ firstRound: 0, rounds: 3 }])
    expect(warnings.map(({ code }) => code)).toEqual(['WINDOW_MISMATCH'])
  })

  it('says when the guest changed, and by how much', () => {
    const levels = [100, 101, 99, 102, 98, 300, 303, 297, 306, 294]
    const { repeated, warnings } = repeatedOf(...levels.map(pages => [round(10, [pages])]))
    expect(repeated?.stationary).toBe(false)
    expect(repeated?.phases).toMatchObject([
      { firstRound: 0, rounds: 5, startedAt: '2026-01-01T00:00:00.000Z' },
      { firstRound: 5, rounds: 5, startedAt: '2026-01-01T00:00:05.000Z' },
    ])
    expect(warnings).toEqual([
      { code: 'NOT_STATIONARY', message: expect.stringMatching(/00:05.000Z on 3.00 times/) },
    ])
  })

  it('has the bounds of a mean of independent estimates', () => {
    const sampled = (pages: number, low: number, high: number): Round => {
      const { figures, ...rest } = round(10, [pages])
      const rate = (of: number): number => of * 409_600
      const interval = { low: rate(low), high: rate(high), confidence: 0.95 }
      const samples = { samplesPerGiB: 512, samples: 1000, hits: pages, zeroPages: 1 }
      return {
        ...rest,
        figures: { ...figures, mode: 'page-sampling', interval, sampling: samples },
        increment: { pages, low, high },
        granularities: undefined as never,
      }
    }
    const { points } = repeatedOf([sampled(100, 70, 150)], [sampled(120, 80, 240)])
    // The mean of 100 and 120; 30 and 40 below are 50 of the sum, and 50 and 120 above are 130.
    expect(points).toMatchObject([
      {
        pages: 110,
        interval: { low: 85 * 409_600, high: 175 * 409_600, confidence: 0.95 },
        increment: { pages: 110, low: 85, high: 175 },
        sampling: { samplesPerGiB: 512, samples: 2000, hits: 220, zeroPages: 2 },
      },
    ])
  })

  it('has the means of bounds that surely hold', () => {
    const certain = (low: number, high: number): Round => {
      const { figures, ...rest } = round(10, [1])
      return { ...rest, figures: { ...figures, interval: { low, high, confidence: 1 } } }
    }
    const { points } = repeatedOf([certain(100, 200)], [certain(300, 400)])
    expect(points[0]?.interval).toEqual({ low: 200, high: 300, confidence: 1 })
  })
})

it('a seed gives each round other pages', async () => {
  const seeds: unknown[] = []
  const source = {
    modes: [{ mode: 'page-sampling', exact: false, costToGuest: '' }],
    requireMeasurable() {},
    explain: (error: unknown) => error,
    async measure(method: Method) {
      seeds.push(method.mode === 'page-sampling' ? method.samples.seed : undefined)
      return [round(10, [1])]
    },
  } as unknown as Source
  const meter = new Meter(source, { uri: () => 'pid:1', requireOpen() {}, historySize: 1 })
  await meter.curve({ windows: [10], repeat: 3, sampling: { seed: 2 ** 32 - 2 } })
  expect(seeds).toEqual([2 ** 32 - 2, 2 ** 32 - 1, 0])
})

it('for is over when less than half of a round is left', () => {
  const repetition = parseRepetition({ for: '1s' }, 200)
  expect([1, 800, 899, 901].map(ms => repetition?.isOver(3, ms))).toEqual([
    false,
    false,
    false,
    true,
  ])
  expect(repetition?.isOver(10_000, 1)).toBe(true)
  expect(parseRepetition({}, 200)).toBeUndefined()
})
