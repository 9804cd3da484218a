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

import { chanceOfWindow } from './chance.js'
import type { Growth } from './growth.js'
import type { Possible } from './model.js'
import { type Course, play } from './precopy.js'

/**
 * The mean of what is left over a round, if what is left is looked at every `looksEvery` seconds.
 * Infinity stands for a VMM that protects all memory again at each look.
 */
export function meanLeft(
  parts: readonly Growth[],
  total: Growth,
  pagesPerSecond: number,
  looksEvery: number,
): number {
  const round = total.lastAbove(pagesPerSecond)
  if (round === 0) return 0
  const lengths = lengthsOf(parts, round)
  return parts.reduce((sum, growth, at) => {
    // The pages of a chunk that are sent between two looks are protected before the first of them
    // is sent. So their mean age is longer, by half of that time.
    const ahead = Math.min(looksEvery, lengths[at] ?? 0)
    const early = round * (1 - Math.sqrt(Math.max(1 - ahead / round, 0)))
    return sum + (growth.area(round) - growth.area(early) + early * growth.at(round)) / round
  }, 0)
}

/** How long each region takes of a round. */
function lengthsOf(parts: readonly Growth[], round: number): number[] {
  const pages = parts.map(growth => growth.at(round))
  const all = pages.reduce((sum, one) => sum + one, 0)
  return pages.map(one => (round * one) / all)
}

/** The least that is left at any moment of a round over these regions. */
export function leastLeft(possible: Possible, pagesPerSecond: number): number {
  const round = possible.total.lastAbove(pagesPerSecond)
  if (round === 0) return 0
  const parts = possible.parts.map(({ growth }) => growth)
  const lengths = lengthsOf(parts, round)
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
 * What is left at least, wherever writers are that write at random. Their curves are concave, so a
 * page of age a is dirty with at least a/R of its chance at the end of its round. A round sends its
 * pages at a steady rate, so their mean age is R/2.
 */
export function leastLeftOfRandom(total: Growth, pagesPerSecond: number): number {
  return (pagesPerSecond * total.lastAbove(pagesPerSecond)) / 2
}

/**
 * What is left at least, wherever the writers are and whatever their order: in h seconds U(h) pages
 * are dirtied, and no more than B h of them are sent. `probable` is the most probable curve.
 */
export function leastLeftAnywhere(total: Growth, probable: Growth, pagesPerSecond: number): number {
  return total.points.reduce(
    (most, [t, u]) => Math.max(most, u - chanceOfWindow(probable, t) - pagesPerSecond * t),
    0,
  )
}

/** What is left at last of a VMM that sends all pages of a pass before it looks again. */
export function leftByWholePasses(possible: Possible, filledPages: number, course: Course): number {
  const endless = { ...course, thresholdPages: 0, leftPages: 0 }
  const { converged, lastPages } = play(possible, filledPages, endless)
  return converged ? 0 : lastPages
}
