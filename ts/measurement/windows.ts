/** The windows that the API measures. */

import { show } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { type Duration, parseDuration } from '../ground/units.js'

const SHORTEST_WINDOW_MS = 1
const LONGEST_WINDOW_MS = 3_600_000
/**
 * More windows than a curve can show, and so few that the event loop is not kept busy with their
 * results.
 */
const MOST_WINDOWS = 1000

/** A window in milliseconds, 1 ms to 1 h. Throws ERR_ARGUMENT, which calls it `name`. */
export function parseWindow(window: Duration, name: string): number {
  const isWindow = (ms: number): boolean => ms >= SHORTEST_WINDOW_MS && ms <= LONGEST_WINDOW_MS
  const ms = parseDuration(window, name, isWindow)
  if (!isWindow(ms)) {
    const isNumber = typeof window === 'number'
    throw argumentError(
      `${name}: ${isNumber ? `${ms} ms` : show(window)} is out of range`,
      ms > LONGEST_WINDOW_MS
        ? 'Give at most 1h.'
        : `Give at least 1ms${isNumber ? '; a number is milliseconds' : ''}.`,
    )
  }
  return ms
}

/**
 * At most {@link MOST_WINDOWS} windows in milliseconds, ascending, without duplicates. Throws
 * ERR_ARGUMENT, which calls them `name` and shows their form.
 */
export function parseWindows(
  windows: readonly Duration[],
  name: string,
  form = "['50ms', '100ms', '1s']",
): number[] {
  if (!Array.isArray(windows) || windows.length === 0) {
    throw argumentError(`${name}: no window`, `Give them as ${form}.`)
  }
  if (windows.length > MOST_WINDOWS) {
    throw argumentError(
      `${name}: ${windows.length} windows are too many`,
      `Give at most ${MOST_WINDOWS}: a curve needs only a few.`,
    )
  }
  // Unlike map(), this does not pass over the holes of an array.
  const ms = Array.from(windows, (window, at) =>
    parseWindow(window, at in windows ? name : `${name}[${at}]`),
  )
  return [...new Set(ms)].sort((a, b) => a - b)
}
