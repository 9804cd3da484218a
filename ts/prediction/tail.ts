/**
 * What a curve does behind its longest window: a writer of two working sets, U(t) =
 * a (1 - e^(-t/p)) + b (1 - e^(-t/q)), is fitted to the points, and goes on from the last one.
 */

import type { GrowthPoint } from './growth.js'

/** How many time constants are tried for each of the two sets. */
const CONSTANTS = 20
/** A curve of more points is thinned out to so many. */
const MOST_POINTS = 48
/**
 * The shortest and the longest time constant, as a multiple of the first and of the last window.
 */
const SHORTEST = 0.3
const LONGEST = 100
/** Each point of the tail is so much later than the one before. */
const STEP = 1.2
const STEPS = 60

/** The points behind the last of `points`, which begin where `points` end. */
export function tailOf(points: readonly GrowthPoint[], mostPages: number): GrowthPoint[] {
  const [lastT, lastU] = points.at(-1) ?? [0, 0]
  if (lastT === 0 || lastU === 0) return []
  const u = fitted(thinned(points))
  const scale = lastU / u(lastT)
  return Array.from({ length: STEPS }, (_, at): GrowthPoint => {
    const t = lastT * STEP ** (at + 1)
    return [t, Math.min(scale * u(t), mostPages)]
  })
}

function thinned(points: readonly GrowthPoint[]): GrowthPoint[] {
  const every = Math.ceil(points.length / MOST_POINTS)
  // The last point is always among them.
  return points.filter((_, at) => (points.length - 1 - at) % every === 0)
}

/** The best sum of two sets by least squares of the relative errors. */
function fitted(points: readonly GrowthPoint[]): (t: number) => number {
  const known = points.filter(([, u]) => u > 0)
  const [firstT, lastT] = [known[0]?.[0] ?? 1, known.at(-1)?.[0] ?? 1]
  const constants = Array.from(
    { length: CONSTANTS },
    (_, at) =>
      SHORTEST * firstT * ((LONGEST * lastT) / (SHORTEST * firstT)) ** (at / (CONSTANTS - 1)),
  )
  const shapes = constants.map(constant => known.map(([t, u]) => (1 - Math.exp(-t / constant)) / u))
  let best: Sets = { error: Number.POSITIVE_INFINITY, a: 1, b: 0 }
  let [p, q] = [lastT, lastT]
  for (let i = 0; i < CONSTANTS; i++) {
    for (let j = i; j < CONSTANTS; j++) {
      const found = weights(shapes[i] ?? [], shapes[j] ?? [], best)
      if (found === best) continue
      best = found
      p = constants[i] ?? lastT
      q = constants[j] ?? lastT
    }
  }
  const { a, b } = best
  return t => a * (1 - Math.exp(-t / p)) + b * (1 - Math.exp(-t / q))
}

/** The sizes of two sets, and the sum of their squared errors. */
interface Sets {
  readonly a: number
  readonly b: number
  readonly error: number
}

/** The sizes that fit best, if neither may be negative; `best` if they fit no better than that. */
function weights(first: readonly number[], second: readonly number[], best: Sets): Sets {
  let [xx, xy, yy, x1, y1] = [0, 0, 0, 0, 0]
  // Loops, because this runs 210 times for each region.
  for (let at = 0; at < first.length; at++) {
    const x = first[at] ?? 0
    const y = second[at] ?? 0
    xx += x * x
    xy += x * y
    yy += y * y
    x1 += x
    y1 += y
  }
  const better = (a: number, b: number, than: Sets): Sets => {
    let error = 0
    // The sums above would do, but an error is so small that their differences lose it.
    for (let at = 0; at < first.length; at++)
      error += (a * (first[at] ?? 0) + b * (second[at] ?? 0) - 1) ** 2
    return error < than.error ? { a, b, error } : than
  }
  const both = xx * yy - xy * xy
  const [a, b] = [(x1 * yy - y1 * xy) / both, (y1 * xx - x1 * xy) / both]
  if (both > 1e-12 * xx * yy && a >= 0 && b >= 0) return better(a, b, best)
  return better(0, y1 / yy, better(x1 / xx, 0, best))
}
