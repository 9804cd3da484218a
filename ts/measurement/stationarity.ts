/**
 * Whether a series of rates is of a guest that does not change, and where it changes. The tests use
 * ranks, so they assume no distribution. They assume that the rounds of a guest that does not
 * change are independent of each other.
 */

import type { StationarityTest } from '../results/curve.js'

/** The chance of calling a guest that does not change one that changes. */
const SIGNIFICANCE = 0.05
/** A change of less than this part of the mean is no change that matters, however certain it is. */
const MATERIAL = 0.05
/** With fewer rounds no order of them is so rare that a test by ranks could reject. */
const FEWEST_ROUNDS = 5
/** The exact distribution of Mann and Kendall's statistic is computed up to here. */
const MOST_EXACT = 60
/** The distribution of Pettitt's statistic is found by shuffling up to here. */
const MOST_SHUFFLED = 200
const SHUFFLES = 9999

/** The samples of one round, and how many of them had changed. */
export interface Sampled {
  readonly samples: number
  readonly hits: number
}

/** What the rounds say. */
export interface Stationarity {
  readonly stationary: boolean
  readonly tests: readonly StationarityTest[]
  /** The first round of each phase: 0 alone if the guest is stationary. */
  readonly phases: readonly number[]
}

/** Judges `rates`, one for each round, with the samples of the rounds if they are estimates. */
export function stationarity(rates: readonly number[], sampled?: readonly Sampled[]): Stationarity {
  const tests = [
    ...(rates.length < FEWEST_ROUNDS ? [] : [mannKendall(rates), pettitt(rates)]),
    ...(sampled === undefined || rates.length < 2 ? [] : [dispersion(sampled)]),
  ]
  // Bonferroni: of several tests the rarest result counts, as often as there are tests.
  const rarest = Math.min(1, ...tests.map(({ pValue }) => pValue * tests.length))
  const most = Math.max(...rates) - Math.min(...rates)
  const stationary = rarest > SIGNIFICANCE || most <= MATERIAL * mean(rates)
  return { stationary, tests, phases: stationary ? [0] : phasesOf(rates) }
}

/**
 * The trend test of Mann (1945) and Kendall: S is how many more pairs rise than fall. Its
 * distribution is exact without ties; with ties, and for many rounds, it is nearly normal.
 */
export function mannKendall(values: readonly number[]): StationarityTest {
  const n = values.length
  let statistic = 0
  for (const [at, value] of values.entries())
    for (let later = at + 1; later < n; later++)
      statistic += Math.sign((values[later] as number) - value)
  const ties = groups(values).filter(size => size > 1)
  const pValue =
    ties.length === 0 && n <= MOST_EXACT
      ? exactTail(n, Math.abs(statistic))
      : normalTail(statistic, varianceOfPairs(n, ties))
  return { name: 'mann-kendall', statistic, pValue }
}

function varianceOfPairs(n: number, ties: readonly number[]): number {
  const term = (size: number): number => size * (size - 1) * (2 * size + 5)
  return (term(n) - ties.reduce((sum, size) => sum + term(size), 0)) / 18
}

/** P(|S| ≥ s) with a continuity correction. */
function normalTail(statistic: number, variance: number): number {
  if (variance === 0 || statistic === 0) return 1
  return erfc((Math.abs(statistic) - 1) / Math.sqrt(2 * variance))
}

/** P(|S| ≥ s) over all orders of n different values, by counting orders by their inversions. */
function exactTail(n: number, statistic: number): number {
  let chances = [1]
  for (let size = 2; size <= n; size++) {
    // One more value comes before 0 to size - 1 of the others.
    const next = new Array<number>(chances.length + size - 1).fill(0)
    for (const [inversions, chance] of chances.entries())
      for (let more = 0; more < size; more++)
        next[inversions + more] = (next[inversions + more] ?? 0) + chance / size
    chances = next
  }
  const pairs = (n * (n - 1)) / 2
  const isAsRare = (inversions: number): boolean => Math.abs(pairs - 2 * inversions) >= statistic
  const tail = chances.reduce((sum, chance, at) => sum + (isAsRare(at) ? chance : 0), 0)
  return Math.min(1, tail)
}

/**
 * The change-point test of Pettitt (1979): K is the largest excess, at any instant, of pairs that
 * fall from before to after it over pairs that rise.
 */
export function pettitt(values: readonly number[]): StationarityTest {
  const ranks = midranks(values)
  const { statistic } = largestExcess(ranks)
  const n = ranks.length
  if (n > MOST_SHUFFLED) {
    const pValue = Math.min(1, 2 * Math.exp((-6 * statistic ** 2) / (n ** 3 + n ** 2)))
    return { name: 'pettitt', statistic, pValue }
  }
  // The numbers are pseudo-random with a fixed seed, so that the same rounds give the same result.
  const random = mulberry32(1)
  const shuffled = [...ranks]
  let asRare = 1
  for (let time = 0; time < SHUFFLES; time++) {
    for (let last = n - 1; last > 0; last--) {
      const other = Math.floor(random() * (last + 1))
      const kept = shuffled[last] as number
      shuffled[last] = shuffled[other] as number
      shuffled[other] = kept
    }
    if (largestExcess(shuffled).statistic >= statistic) asRare++
  }
  return { name: 'pettitt', statistic, pValue: asRare / (SHUFFLES + 1) }
}

/** Pettitt's K, and how many values come before the instant at which it is reached. */
function largestExcess(ranks: readonly number[]): { statistic: number; before: number } {
  let [statistic, before, sum] = [0, 0, 0]
  for (const [at, rank] of ranks.entries()) {
    sum += rank
    const excess = Math.abs(2 * sum - (at + 1) * (ranks.length + 1))
    if (excess > statistic) [statistic, before] = [excess, at + 1]
  }
  return { statistic, before }
}

/**
 * The test of homogeneity of binomial samples: how far the shares of the rounds lie apart, in the
 * unit of the error of sampling. Stratified samples lie closer together, so for them the p-value is
 * too large, and never too small.
 */
export function dispersion(rounds: readonly Sampled[]): StationarityTest {
  const samples = rounds.reduce((sum, round) => sum + round.samples, 0)
  const share = rounds.reduce((sum, round) => sum + round.hits, 0) / samples
  const unit = share * (1 - share)
  const statistic =
    unit > 0
      ? rounds.reduce((sum, { hits, samples: n }) => sum + n * (hits / n - share) ** 2, 0) / unit
      : 0
  return { name: 'dispersion', statistic, pValue: chiSquareTail(statistic, rounds.length - 1) }
}

/**
 * The first rounds of the phases of a guest that changes: the best split, and in each part again,
 * as long as Pettitt's test and the difference of the means say so.
 */
function phasesOf(rates: readonly number[]): number[] {
  const split = (from: number, end: number, isKnown: boolean): number[] => {
    const part = rates.slice(from, end)
    const { before } = largestExcess(midranks(part))
    const [first, second] = [mean(part.slice(0, before)), mean(part.slice(before))]
    const isMaterial = Math.abs(first - second) > MATERIAL * mean(rates)
    if (before === 0 || before === part.length || !isMaterial) return []
    const isFew = part.length < FEWEST_ROUNDS
    if (!isKnown && (isFew || pettitt(part).pValue > SIGNIFICANCE)) return []
    const at = from + before
    return [...split(from, at, false), at, ...split(at, end, false)]
  }
  return [0, ...split(0, rates.length, true)]
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** How many values are equal, for each value that there is. */
function groups(values: readonly number[]): number[] {
  const counts = new Map<number, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return [...counts.values()]
}

/** The ranks from 1 on; equal values have the mean of their ranks. */
function midranks(values: readonly number[]): number[] {
  const sorted = [...values].sort((a, b) => a - b)
  const first = new Map<number, number>()
  const last = new Map<number, number>()
  for (const [at, value] of sorted.entries()) {
    if (!first.has(value)) first.set(value, at + 1)
    last.set(value, at + 1)
  }
  return values.map(value => ((first.get(value) ?? 0) + (last.get(value) ?? 0)) / 2)
}

/** A generator of pseudo-random numbers in [0, 1), by Tommy Ettinger. */
function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** P(χ² ≥ x) with `df` degrees of freedom. */
function chiSquareTail(x: number, df: number): number {
  return x <= 0 || df <= 0 ? 1 : upperGamma(df / 2, x / 2)
}

/** erfc(x) for x ≥ 0, which is Q(1/2, x²). */
function erfc(x: number): number {
  return x <= 0 ? 1 : upperGamma(0.5, x * x)
}

/**
 * The regularised upper incomplete gamma function Q(a, x): by its series below a + 1, and by its
 * continued fraction above (Lentz's way of evaluating it; DLMF 8.7.1 and 8.9.2).
 */
function upperGamma(a: number, x: number): number {
  const scale = Math.exp(a * Math.log(x) - x - logGamma(a))
  if (x < a + 1) {
    let [term, sum] = [1 / a, 1 / a]
    for (let k = 1; k < 1000 && term > sum * 1e-16; k++) {
      term *= x / (a + k)
      sum += term
    }
    return Math.max(0, 1 - scale * sum)
  }
  const tiny = 1e-300
  let b = x + 1 - a
  let c = 1 / tiny
  let d = 1 / b
  let fraction = d
  for (let k = 1; k < 1000; k++) {
    const factor = -k * (k - a)
    b += 2
    d = 1 / nonZero(factor * d + b, tiny)
    c = nonZero(b + factor / c, tiny)
    fraction *= c * d
    if (Math.abs(c * d - 1) < 1e-15) break
  }
  return scale * fraction
}

function nonZero(value: number, tiny: number): number {
  return Math.abs(value) < tiny ? tiny : value
}

/** ln Γ(a) by Stirling's series (DLMF 5.11.1), after the recurrence has made `a` large. */
function logGamma(a: number): number {
  let [value, shift] = [a, 0]
  while (value < 12) shift -= Math.log(value++)
  const inverse = 1 / value
  const series = inverse * (1 / 12 - inverse ** 2 * (1 / 360 - inverse ** 2 / 1260))
  return shift + (value - 0.5) * Math.log(value) - value + 0.5 * Math.log(2 * Math.PI) + series
}
