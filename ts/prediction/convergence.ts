/**
 * What is left of a migration that goes on for ever: the number of pages below which it never
 * comes.
 *
 * A VMM that looks at what is left whenever it is little enough goes round and round in memory.
 * Each page is sent once in a round of R seconds, and a round sends what a round dirties: B R =
 * U(R). So the pages have all ages from 0 to R, and the mean of U over these ages is what is left,
 * in the mean over a round. That is exact at each moment if all regions are alike. If they are not,
 * more is left at some moments than at others.
 */

import { grouped } from './arrangement.js'
import type { Growth } from './growth.js'
import type { Possible } from './model.js'
import { type Course, play } from './precopy.js'

/**
 * The mean of what is left over a round, if what is left is looked at every `looksEvery` seconds.
 */
export function meanLeft(total: Growth, pagesPerSecond: number, looksEvery: number): number {
  const round = total.lastAbove(pagesPerSecond)
  if (round === 0) return 0
  // Pages that are sent between two looks were protected at the first of them.
  const early = Math.min(looksEvery / 2, round)
  return (total.area(round) - total.area(early) + early * total.at(round)) / round
}

/** The least that is left at any moment of a round over these regions. */
export function leastLeft(possible: Possible, pagesPerSecond: number): number {
  const round = possible.total.lastAbove(pagesPerSecond)
  if (round === 0) return 0
  const parts = grouped(possible.parts).map(({ growth }) => growth)
  const sum = parts.reduce((pages, growth) => pages + growth.at(round), 0)
  const lengths = parts.map(growth => (round * growth.at(round)) / sum)
  return Math.min(
    ...parts.flatMap((_, at) => [0, 0.5].map(done => leftAt(parts, lengths, round, at, done))),
  )
}

/** What is left when the part `done` of the region `at` is sent. */
function leftAt(
  parts: readonly Growth[],
  lengths: readonly number[],
  round: number,
  at: number,
  done: number,
): number {
  const length = lengths[at] ?? 0
  const here = parts[at]
  let left = 0
  if (here !== undefined && length > 0) {
    const still = here.area(round) - here.area(round - (1 - done) * length)
    left = (here.area(done * length) + still) / length
  }
  // The regions before this one, back to the one behind it.
  let age = done * length
  for (let back = 1; back < parts.length; back++) {
    const index = (at - back + parts.length) % parts.length
    const [growth, took = 0] = [parts[index], lengths[index]]
    if (growth === undefined || took === 0) continue
    left += (growth.area(age + took) - growth.area(age)) / took
    age += took
  }
  return left
}

/**
 * What is left at least, wherever the writers are: in h seconds U(h) pages are dirtied, and no more
 * than B h of them are sent.
 */
export function leastLeftAnywhere(total: Growth, pagesPerSecond: number): number {
  return Math.max(0, ...total.points.map(([t, u]) => u - pagesPerSecond * t))
}

/** What is left at last of a VMM that sends all pages of a pass before it looks again. */
export function leftByWholePasses(possible: Possible, filledPages: number, course: Course): number {
  const endless = { ...course, thresholdPages: 0, leftPages: 0 }
  const { converged, lastPages } = play(possible, filledPages, endless)
  return converged ? 0 : lastPages
}
