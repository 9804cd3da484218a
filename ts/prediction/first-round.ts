/**
 * What is left when each page was sent once. A migration may end there, before it has gone on for
 * long enough to leave what `convergence` says: then the first round is short, because little of
 * the memory holds anything yet.
 */

import { chanceOfWindow } from './chance.js'
import type { Growth } from './growth.js'

/** The length of the round is known when a step makes it longer by less than this part. */
const STEADY = 1e-6
const MOST_STEPS = 200
/** A guest that dirties so many times the pages that hold anything has begun to fill its memory. */
const OUTGROWN = 1.5

/** A memory, and a link that sends it. */
interface Sent {
  readonly memoryPages: number
  /** Pages that hold anything. */
  readonly filledPages: number
  readonly pagesPerSecond: number
  /** How long a page of zeros takes. */
  readonly zeroSeconds: number
}

/** How many pages are left at most. */
export function mostLeftByFirstRound(
  total: Growth,
  { memoryPages, filledPages, pagesPerSecond, zeroSeconds }: Sent,
): number {
  const zeros = (memoryPages - filledPages) * zeroSeconds
  let [seconds, before] = [filledPages / pagesPerSecond + zeros, 0]
  for (let steps = 0; steps < MOST_STEPS && seconds > before * (1 + STEADY); steps++) {
    before = seconds
    // Pages that were zeros are written before they are sent.
    const pages = Math.min(filledPages + total.at(before), memoryPages)
    seconds = pages / pagesPerSecond + zeros
  }
  return total.at(seconds)
}

/** Whether the guest dirties many more pages than held anything when it was looked at. */
export function isFillingMemory(total: Growth, filledPages: number): boolean {
  return total.most > OUTGROWN * filledPages
}

/** What is left at least at the end of the shortest first round, wherever the writers are. */
export function leastLeftEarly(
  total: Growth,
  probable: Growth,
  { filledPages, pagesPerSecond }: Pick<Sent, 'filledPages' | 'pagesPerSecond'>,
): number {
  const seconds = filledPages / pagesPerSecond
  const points = total.points.filter(([t]) => t < seconds)
  const early = [...points, [seconds, total.at(seconds)] as const]
  return early.reduce(
    (most, [t, u]) => Math.max(most, u - chanceOfWindow(probable, t) - pagesPerSecond * t),
    0,
  )
}
