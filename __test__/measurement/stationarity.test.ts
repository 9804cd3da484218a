import { describe, expect, it } from 'vitest'
import {
  dispersion,
  mannKendall,
  pettitt,
  stationarity,
} from '../../ts/measurement/stationarity.js'

/** Every order of `values`. */
function orders(values: readonly number[]): number[][] {
  if (values.length < 2) return [[...values]]
  return values.flatMap((value, at) =>
    orders(values.filter((_, other) => other !== at)).map(rest => [value, ...rest]),
  )
}

/** Pairs that rise, less pairs that fall. */
function rises(values: readonly number[], split?: number): number {
  let sum = 0
  for (let i = 0; i < values.length; i++)
    for (let j = i + 1; j < values.length; j++)
      if (split === undefined || (i < split && j >= split))
        sum += Math.sign((values[j] as number) - (values[i] as number))
  return sum
}

const largest = (values: readonly number[]): number =>
  Math.max(...values.map((_, split) => Math.abs(rises(values, split))))

/** A repeatable series of numbers in [0, 1), by a generator that is not the one under test. */
function noise(count: number, seed: number): number[] {
  let state = BigInt(seed)
  return Array.from({ length: count }, () => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & ((1n << 64n) - 1n)
    return Number(state >> 11n) / 2 ** 53
  })
}

describe('the test of Mann and Kendall', () => {
  it.each([2, 3, 4, 5, 6, 7])('is exact over all orders of %d values', n => {
    const all = orders(Array.from({ length: n }, (_, at) => at))
    for (const values of all.filter((_, at) => at % 37 === 0)) {
      const { statistic, pValue } = mannKendall(values)
      expect(statistic).toBe(rises(values))
      const asRare = all.filter(other => Math.abs(rises(other)) >= Math.abs(statistic))
      expect(pValue).toBeCloseTo(asRare.length / all.length, 12)
    }
  })

  it('with ties has the p-value of the normal distribution', () => {
    // Var S = (5·4·15 − 2·1·9) / 18 = 15.667, z = (9 − 1) / 3.958 = 2.0212: p = 0.0433.
    const { statistic, pValue } = mannKendall([1, 2, 2, 3, 4])
    expect(statistic).toBe(9)
    expect(pValue).toBeCloseTo(0.0433, 3)
    expect(mannKendall([3, 3, 3, 3, 3])).toMatchObject({ statistic: 0, pValue: 1 })
  })

  it('goes on smoothly where the exact distribution ends', () => {
    // The same order, and one more value in the middle of it, which raises as many pairs as it
    // lowers.
    const order = noise(60, 7).map((x, at) => x + at / 300)
    const [exact, normal] = [order, [...order.slice(0, 30), 0.6, ...order.slice(30)]].map(
      mannKendall,
    )
    expect(exact?.pValue).toBeGreaterThan(0.001)
    expect(exact?.pValue).toBeLessThan(0.5)
    expect(Math.abs(Math.log((exact?.pValue ?? 0) / (normal?.pValue ?? 1)))).toBeLessThan(0.5)
  })
})

describe('the test of Pettitt', () => {
  it.each([
    [[5, 1, 4, 2, 3, 6]],
    [[1, 2, 3, 4, 5, 6, 7]],
    [[1, 1, 1, 9, 9, 9]],
    [[4, 7, 1, 6, 2, 5, 3]],
  ])('of %j has the p-value of counting all orders', values => {
    const { statistic, pValue } = pettitt(values)
    expect(statistic).toBe(largest(values))
    const all = orders(values)
    const exact = all.filter(other => largest(other) >= statistic).length / all.length
    // Five standard errors of 9999 shuffles.
    expect(Math.abs(pValue - exact)).toBeLessThan(
      5 * Math.sqrt((exact * (1 - exact)) / 9999) + 2e-4,
    )
  })

  it('sees a change in many rounds', () => {
    const values = noise(400, 3).map((x, at) => x + (at < 150 ? 0 : 1))
    expect(pettitt(values).pValue).toBeLessThan(1e-9)
    const wrong = Array.from({ length: 200 }, (_, seed) => pettitt(noise(400, seed + 1)).pValue)
    // 5 % of 200 are 10, and 10 + 4 · sqrt(9.5) are 22.
    expect(wrong.filter(pValue => pValue <= 0.05).length).toBeLessThanOrEqual(22)
  })
})

describe('the dispersion of samples', () => {
  it('is the statistic of a table with 2 columns', () => {
    // Rows 10 of 100 and 20 of 100: chi-square 3.9216 with one degree of freedom, p = 0.0477.
    const { statistic, pValue } = dispersion([
      { samples: 100, hits: 10 },
      { samples: 100, hits: 20 },
    ])
    expect(statistic).toBeCloseTo(3.9216, 4)
    expect(pValue).toBeCloseTo(0.0477, 4)
  })

  it.each([
    [2, 5.991, 0.05],
    [4, 9.488, 0.05],
    [10, 18.307, 0.05],
    [30, 50.892, 0.01],
  ])('has the tail of chi-square with %d degrees of freedom', (df, critical, p) => {
    // Shares of 1/2 ± d give the statistic (df + 1) · n · d² / (1/4), which is to be `critical`.
    const rounds = df + 1
    const n = 1e6
    const d = Math.sqrt(critical / 4 / n / (rounds - (rounds % 2)))
    const { statistic, pValue } = dispersion(
      Array.from({ length: rounds }, (_, at) => {
        const isMiddle = rounds % 2 === 1 && at === rounds - 1
        return { samples: n, hits: n * (0.5 + (isMiddle ? 0 : at % 2 === 0 ? d : -d)) }
      }),
    )
    expect(statistic).toBeCloseTo(critical, 3)
    expect(pValue).toBeCloseTo(p, 3)
  })

  it('of samples that are all alike is none', () => {
    const none = { samples: 512, hits: 0 }
    expect(dispersion([none, none, none])).toMatchObject({ statistic: 0, pValue: 1 })
  })
})

describe('a guest', () => {
  it('that does not change is called one that changes about as often as was promised', () => {
    let wrong = 0
    for (let seed = 1; seed <= 400; seed++)
      if (!stationarity(noise(12, seed).map(x => 1 + x)).stationary) wrong++
    // 5 % of 400 are 20, and 20 + 4 · sqrt(19) are 38.
    expect(wrong).toBeLessThanOrEqual(38)
  })

  it('that changes by less than a twentieth does not change', () => {
    const rising = Array.from({ length: 20 }, (_, at) => 1000 + at * 2)
    const { stationary, tests, phases } = stationarity(rising)
    expect(tests.find(({ name }) => name === 'mann-kendall')?.pValue).toBeLessThan(1e-6)
    expect({ stationary, phases }).toEqual({ stationary: true, phases: [0] })
  })

  it.each([
    ['one change', [10, 10], [0, 10]],
    ['two changes', [10, 10, 10], [0, 10, 20]],
    ['a short first phase', [6, 20], [0, 6]],
  ])('with %s has these phases', (_, lengths, phases) => {
    const levels = [1, 3, 0.5]
    const rates = lengths.flatMap((length, phase) =>
      noise(length, phase + 1).map(x => (levels[phase] ?? 0) * (1 + x / 10)),
    )
    expect(stationarity(rates)).toMatchObject({ stationary: false, phases })
  })

  it('with few rounds is not judged by their order, but by its samples', () => {
    expect(stationarity([1, 2, 3, 4])).toEqual({ stationary: true, tests: [], phases: [0] })
    const sampled = [10, 10, 200].map(hits => ({ samples: 512, hits }))
    expect(stationarity([10, 10, 200], sampled)).toMatchObject({
      stationary: false,
      tests: [{ name: 'dispersion' }],
      phases: [0, 2],
    })
    const alike = [100, 108, 93].map(hits => ({ samples: 512, hits }))
    expect(stationarity([100, 108, 93], alike)).toMatchObject({ stationary: true, phases: [0] })
  })

  it('that writes nothing does not change', () => {
    expect(stationarity([0, 0, 0, 0, 0, 0])).toMatchObject({ stationary: true, phases: [0] })
  })
})
