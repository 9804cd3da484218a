/**
 * A curve of so few points and regions that a prediction takes milliseconds. No bound becomes wrong
 * by it: points that are left out are points that nobody has measured, so the bounds are wider.
 */

import { merged } from './chunks.js'
import type { CurveInput } from './curve-input.js'

/** Windows that grow by a twentieth: so many of them reach from 1 ms to 4 minutes. */
const MOST_POINTS = 256
/** A finer division changes nothing: a chunk is then a small part of a pass. */
export const MOST_CHUNKS = 64

/** What a model needs of a curve. */
type Measured = Pick<CurveInput, 'points' | 'regions'>

/** `input` with at most {@link MOST_POINTS} points and {@link MOST_CHUNKS} regions. */
export function coarse<T extends Measured>(input: T): T {
  const fewer = fewerPoints(input)
  const { points, regions } = fewer
  if (regions.length <= MOST_CHUNKS) return fewer
  const size = Math.ceil(regions.length / MOST_CHUNKS)
  const groups = Array.from({ length: Math.ceil(regions.length / size) }, (_, at) =>
    merged(regions.slice(at * size, (at + 1) * size), points.length),
  )
  return { ...fewer, regions: groups }
}

/** `input` with at most {@link MOST_POINTS} points, and all of its regions. */
export function fewerPoints<T extends Measured>(input: T): T {
  const { points, regions } = input
  const kept = keptOf(points.map(({ seconds }) => seconds))
  if (kept.length === points.length) return input
  return {
    ...input,
    points: kept.flatMap(at => points[at] ?? []),
    regions: regions.map(region => ({
      ...region,
      pages: kept.map(at => region.pages[at] ?? 0),
    })),
  }
}

/**
 * The indices of the points that stay: the first and the last one, and of the others the last one
 * in each of many windows that grow by the same factor.
 */
function keptOf(seconds: readonly number[]): number[] {
  const all = [...seconds.keys()]
  if (all.length <= MOST_POINTS) return all
  const [first = 1, last = 1] = [seconds[0], seconds.at(-1)]
  const step = (at: number): number =>
    Math.floor(
      (Math.log((seconds[at] ?? last) / first) / Math.log(last / first)) * (MOST_POINTS - 2),
    )
  return all.filter(at => at === 0 || at === all.length - 1 || step(at) !== step(at + 1))
}
