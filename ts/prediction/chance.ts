/**
 * How far the pages that are left may fall below their mean, because the guest writes at random. A
 * migration at the edge ends at the first moment at which few pages happen to be dirty.
 *
 * If each page is dirty with a chance p of its own, the number of dirty pages has the variance of
 * all p (1 - p). A page that is written at random, t seconds after it was protected, has
 * p = 1 - e^(-t/c), and p (1 - p) is its chance in 2 t less that in t. So the variance of U(t) is
 * U(2t) - U(t). A guest that writes at a steady rate has less.
 */

import type { Growth } from './growth.js'

/**
 * QEMU looks ten times in a second, 36,000 times in an hour. A normal deviate is more than five
 * standard deviations below its mean once in 3.5 million times.
 */
const DEVIATIONS = 5

/** How many pages a window may dirty less than in the mean. */
export function chanceOfWindow(total: Growth, seconds: number): number {
  return chanceOf(total.at(2 * seconds) - total.at(seconds))
}

/** How many pages less than in the mean may be left, if pages have all ages from 0 to `round`. */
export function chanceOfRound(total: Growth, round: number): number {
  if (round === 0) return 0
  return chanceOf((total.area(2 * round) / 2 - total.area(round)) / round)
}

const chanceOf = (variance: number): number => DEVIATIONS * Math.sqrt(Math.max(variance, 0))
