/**
 * Whether the guest may sweep through its memory, so that it comes back to each page after a fixed
 * time. What a migration of such a guest leaves depends on where the sweep is, which no curve
 * tells. A guest that writes at random, with any mixture of rates, has a curve that is a sum of
 * functions a (1 - e^(-t/p)); a sweep has not.
 */

import { fewerPoints } from './coarse.js'
import type { CurveInput } from './curve-input.js'
import { Growth } from './growth.js'

const CONSTANTS = 24
const ROUNDS = 2000
/** After so many rounds it is looked whether the fit is near enough. */
const LOOKS_EVERY = 10
const MOST_POINTS = 48
/** A curve of random writes is nearer to its fit than this, as a part of it. */
const NEAR = 0.05
/** The regions of a guest that does not sweep add up to their concave forms, but for this part. */
const CONVEX = 0.1

/** Whether a sweep is possible. */
export function maySweep(input: CurveInput): boolean {
  if (input.maySweep !== undefined) return input.maySweep
  const { points, regions } = fewerPoints(input)
  return mayBeSweep(points, regions)
}

function mayBeSweep(points: CurveInput['points'], regions: CurveInput['regions']): boolean {
  const known = thinned(points.filter(({ pages }) => pages > 0))
  if (known.length < 3) return true
  const isNear = (fitted: readonly number[]): boolean =>
    known.every(({ pages, low, high, confidence }, at) => {
      const there = fitted[at] ?? 0
      const isOutside = confidence >= 1 || there < low || there > high
      return !isOutside || Math.abs(there / pages - 1) <= NEAR
    })
  const isFitted = isMixture(
    known.map(({ seconds, pages }) => [seconds, pages]),
    isNear,
  )
  return (
    !isFitted ||
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
 * Whether a sum of functions a (1 - e^(-t/p)) with no negative a is near to the points: the best
 * fit is looked for by multiplicative updates, which keep every a above zero.
 */
function isMixture(
  points: readonly (readonly [number, number])[],
  isNear: (fitted: readonly number[]) => boolean,
): boolean {
  const rows = points.length
  const [first, last] = [points[0]?.[0] ?? 1, points.at(-1)?.[0] ?? 1]
  const columns = Array.from({ length: CONSTANTS }, (_, at) => {
    const constant = (first / 4) * ((400 * last) / first) ** (at / (CONSTANTS - 1))
    return Float64Array.from(points, ([t, u]) => (1 - Math.exp(-t / constant)) / u)
  })
  const wanted = columns.map(column => column.reduce((sum, value) => sum + value, 0))
  const weights = Float64Array.from(columns, column => 1 / (CONSTANTS * Math.max(...column)))
  // Loops over flat arrays, because this runs for each VM of a fleet.
  const now = new Float64Array(rows)
  const addUp = (): void => {
    now.fill(0)
    for (const [at, column] of columns.entries()) {
      const weight = weights[at] ?? 0
      for (let row = 0; row < rows; row++) now[row] = (now[row] ?? 0) + (column[row] ?? 0) * weight
    }
  }
  for (let round = 0; round < ROUNDS; round++) {
    addUp()
    if (round % LOOKS_EVERY === 0 && isNear(points.map(([, u], row) => (now[row] ?? 0) * u)))
      return true
    for (const [at, column] of columns.entries()) {
      let had = 0
      for (let row = 0; row < rows; row++) had += (column[row] ?? 0) * (now[row] ?? 0)
      if (had > 0) weights[at] = ((weights[at] ?? 0) * (wanted[at] ?? 0)) / had
    }
  }
  addUp()
  return isNear(points.map(([, u], row) => (now[row] ?? 0) * u))
}

/** By how much the regions are below their concave forms, as a part of all their pages. */
function convexPart(seconds: readonly number[], regions: CurveInput['regions']): number {
  if (regions.length < 2) return 0
  let [below, all] = [0, 0]
  for (const { pages } of regions) {
    const raw = new Growth(seconds.map((t, at) => [t, pages[at] ?? 0]))
    const hull = raw.concave()
    for (const t of seconds) {
      const above = hull.at(t)
      below += above - raw.at(t)
      all += above
    }
  }
  return all > 0 ? below / all : 0
}
