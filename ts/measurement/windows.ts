/** The windows that the API measures. */

import { argumentError } from '../errors.js'
import { type Duration, parseDuration } from '../units.js'

const SHORTEST_WINDOW_MS = 1
const LONGEST_WINDOW_MS = 3_600_000

/** A window in milliseconds, 1 ms to 1 h. Throws ERR_ARGUMENT, naming it `name`. */
export function parseWindow(window: Duration, name: string): number {
  const isWindow = (ms: number): boolean => ms >= SHORTEST_WINDOW_MS && ms <= LONGEST_WINDOW_MS
  const ms = parseDuration(window, name, isWindow)
  if (!isWindow(ms)) {
    throw argumentError(`${name}: ${ms} ms is out of range`, 'Give 1ms to 1h; a bare number is milliseconds.')
  }
  return ms
}

/** Windows in milliseconds, ascending, each once. Throws ERR_ARGUMENT, naming them `name` and showing how it is written. */
export function parseWindows(
  windows: readonly Duration[],
  name: string,
  form = "['50ms', '100ms', '1s']",
): number[] {
  if (!Array.isArray(windows) || windows.length === 0) {
    throw argumentError(`${name}: no window`, `Give them as ${form}.`)
  }
  const ms = windows.map(window => parseWindow(window, name))
  return [...new Set(ms)].sort((a, b) => a - b)
}
