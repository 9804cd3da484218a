/** What `serve` measures, and when. */

import { argumentError } from '../../ground/errors.js'
import { parseDuration } from '../../ground/units.js'
import { parseWindow, parseWindows } from '../../measurement/windows.js'
import type { RoundsPlan } from '../../server/rounds.js'
import type { Target } from '../../targets/target.js'
import { parseModeOptions } from '../target.js'
import type { MeasuringOptions } from './options.js'

/** The word that switches curves off. */
const NEVER = 'never'
/** The windows of a curve without --windows. A round takes as long as the longest one. */
const WINDOWS = ['50ms', '100ms', '200ms', '500ms', '1s', '2s', '5s']
/** Each window has series of its own. */
const MOST_WINDOWS = 32
const LONGEST_PERIOD_MS = 24 * 3_600_000

/** Throws ERR_ARGUMENT. */
export function parsePlan(
  options: MeasuringOptions,
  uris: readonly string[],
): Omit<RoundsPlan, 'offsetMs'> {
  const everyMs = parseWindow(options.every, '--every')
  const window = parseWindow(options.window, '--window')
  if (window > everyMs) {
    throw argumentError(
      `--window: ${options.window} is longer than --every ${options.every}`,
      'Give a window that is not longer.',
    )
  }
  const mode = parseModeOptions(options, uris)
  const windows = options.windows === undefined ? undefined : parseList(options.windows)
  const plan = { everyMs, measuring: { ...mode, window } }
  if (options.curveEvery === NEVER) {
    if (windows === undefined) return plan
    throw argumentError(
      '--windows: it is for curves, and with --curve-every never there are none',
      'Leave out one of the two.',
    )
  }
  const curve = {
    everyMs: parsePeriod(options.curveEvery, '--curve-every'),
    windows: (target: Target) => windows ?? parseList((target.curveWindows ?? WINDOWS).join(',')),
    measuring: mode,
  }
  return { ...plan, curve }
}

function parseList(text: string): number[] {
  const windows = parseWindows(text.split(','), '--windows', '50ms,100ms,1s')
  if (windows.length <= MOST_WINDOWS) return windows
  throw argumentError(
    `--windows: ${windows.length} windows are too many for metrics`,
    `Give at most ${MOST_WINDOWS}.`,
  )
}

function parsePeriod(text: string, name: string): number {
  const isPeriod = (ms: number): boolean => ms >= 1000 && ms <= LONGEST_PERIOD_MS
  const ms = parseDuration(text, name, isPeriod)
  if (isPeriod(ms)) return ms
  throw argumentError(`${name}: '${text}' is out of range`, `Give 1s to 24h, or ${NEVER}.`)
}
