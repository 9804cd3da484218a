/**
 * Whether the guest may sweep through its memory, so that it comes back to each page after a fixed
 * time. What a migration of such a guest leaves depends on where the sweep is, which no curve
 * tells. A guest that writes at random, with any mixture of rates, has a curve that is a sum of
 * functions a (1 - e^(-t/p)); a sweep has not.
 */

import { Growth } from './growth.js'
import type { CurveInput } from './input.js'

const CONSTANTS = 24
const ROUNDS = 2000
const MOST_POINTS = 48
/** A curve of random writes is nearer to its fit than this, as a part of it. */
const NEAR = 0.05
/** The regions of a guest that does not sweep add up to their concave forms, but for this part. */
const CONVEX = 0.1

/** Whether a sweep is possible. */
export function maySweep({ points, regions }: CurveInput): boolean {
  const known = thinned(points.filter(({ pages }) => pages > 0))
  if (known.length < 3) return true
  const fitted = mixture(known.map(({ seconds, pages }) => [seconds, pages]))
  const isFar = known.some(({ pages, low, high, confidence }, at) => {
    const there = fitted[at] ?? 0
    const isOutside = confidence >= 1 || there < low || there > high
    return isOutside && Math.abs(there / pages - 1) > NEAR
  })
  return (
    isFar ||
    convexPart(
      points.map(({ seconds }) => seconds),
      regions,
    ) > CONVEX
  )
}

function thinned<T>(points: readonly T[]): T[] {
  const every = Math.ceil(points.length / MOST_POINTS)
  return points.filter((_, at) => (points.length - 1 - at) % every === 0)
}

/**
 * The best fit of a sum of functions a (1 - e^(-t/p)) with no negative a, at each point: by
 * multiplicative updates, which keep every a above zero.
 */
function mixture(points: readonly (readonly [number, number])[]): number[] {
  const [first, last] = [points[0]?.[0] ?? 1, points.at(-1)?.[0] ?? 1]
  const columns = Array.from({ length: CONSTANTS }, (_, at) => {
    const constant = (first / 4) * ((400 * last) / first) ** (at / (CONSTANTS - 1))
    return points.map(([t, u]) => (1 - Math.exp(-t / constant)) / u)
  })
  const weights = columns.map(column => 1 / (CONSTANTS * Math.max(...column)))
  const sums = (): number[] =>
    points.map((_, row) =>
      columns.reduce((sum, column, at) => sum + (column[row] ?? 0) * (weights[at] ?? 0), 0),
    )
  for (let round = 0; round < ROUNDS; round++) {
    const now = sums()
    columns.forEach((column, at) => {
      const wanted = column.reduce((sum, value) => sum + value, 0)
      const had = column.reduce((sum, value, row) => sum + value * (now[row] ?? 0), 0)
      if (had > 0) weights[at] = ((weights[at] ?? 0) * wanted) / had
    })
  }
  return sums().map((sum, row) => sum * (points[row]?.[1] ?? 0))
}

/** By how much the regions are below their concave forms, as a part of all their pages. */
function convexPart(seconds: readonly number[], regions: CurveInput['regions']): number {
  if (regions.length < 2) return 0
  const [below, all] = regions
    .flatMap(({ pages }) => {
      const raw = new Growth(seconds.map((t, at) => [t, pages[at] ?? 0]))
      const hull = raw.concave()
      return seconds.map(t => [hull.at(t) - raw.at(t), hull.at(t)] as const)
    })
    .reduce(([a, b], [c, d]) => [a + c, b + d], [0, 0] as readonly [number, number])
  return all > 0 ? below / all : 0
}
