/** How often a curve is measured. */

import { parseCount, parseFlag } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { type Duration, parseDuration } from '../ground/units.js'

export const MOST_ROUNDS: number = 10_000
const LONGEST_MS = 7 * 24 * 3_600_000

/** Says after each round whether there is another one. */
export interface Repetition {
  /** How long all rounds take together, as far as that is known before. */
  readonly expectedMs: number
  /** Whether the rounds are over, after `rounds` of them and `elapsedMs`. */
  isOver(rounds: number, elapsedMs: number): boolean
}

/**
 * What `repeat` and `for` ask for; undefined for a single curve. `for` begins another round as long
 * as at least half of the round fits. Throws ERR_ARGUMENT.
 */
export function parseRepetition(
  { repeat, for: time }: { repeat?: number | undefined; for?: Duration | undefined },
  longestMs: number,
  names: { readonly repeat: string; readonly for: string } = { repeat: 'repeat', for: 'for' },
): Repetition | undefined {
  if (repeat !== undefined) {
    if (time !== undefined)
      throw argumentError(
        `${names.repeat}: give either ${names.repeat} or ${names.for}`,
        'Leave one of them out.',
      )
    const count = parseCount(repeat, names.repeat, 1, MOST_ROUNDS)
    return { expectedMs: count * longestMs, isOver: rounds => rounds >= count }
  }
  if (time === undefined) return undefined
  const isTime = (ms: number): boolean => ms >= longestMs && ms <= LONGEST_MS
  const ms = parseDuration(time, names.for, isTime)
  if (!isTime(ms)) {
    throw argumentError(
      `${names.for}: ${ms} ms is out of range`,
      `Give at least the longest window, ${longestMs}ms, and at most 7 days.`,
    )
  }
  return {
    expectedMs: ms,
    isOver: (rounds, elapsedMs) => rounds >= MOST_ROUNDS || elapsedMs + longestMs / 2 > ms,
  }
}

/**
 * Whether the whole rounds are kept if the measurement is aborted. Throws ERR_ARGUMENT, also for a
 * single curve, which has no rounds.
 */
export function parseKeepRounds(
  wanted: boolean | undefined,
  repetition: Repetition | undefined,
): boolean {
  if (wanted === undefined || !parseFlag(wanted, 'keepRounds')) return false
  if (repetition !== undefined) return true
  throw argumentError(
    'keepRounds: a single curve has no rounds',
    'Leave it out, or give repeat or for.',
  )
}
