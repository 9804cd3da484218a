/** How long the one job of a QEMU still takes, and the error for a client that finds it taken. */

import { DirtyRateError } from '../../ground/errors.js'
import type { DirtyRateInfo } from '../../qapi/types.js'

const MS_PER_SECOND = 1000

/**
 * How many whole seconds the job still takes at most; undefined if none runs. `info` has its time
 * in ms. QEMU says the start in whole seconds, and old versions count them from the start of the
 * host, so that only the length of the window is known.
 */
export function secondsLeft(info: DirtyRateInfo | undefined, nowMs: number): number | undefined {
  if (info?.status !== 'measuring') return undefined
  const windowMs = info['calc-time']
  const left = (info['start-time'] + 1) * MS_PER_SECOND + windowMs - nowMs
  const isPlausible = left >= -windowMs && left <= windowMs + MS_PER_SECOND
  return Math.ceil(Math.max(isPlausible ? left : windowMs, MS_PER_SECOND) / MS_PER_SECOND)
}

/** The error for a client that finds the job of another one. `what` is what QEMU measures. */
export function occupied(
  what: string,
  info: DirtyRateInfo | undefined,
  cause?: unknown,
): DirtyRateError {
  const seconds = secondsLeft(info, Date.now())
  const hint =
    seconds === undefined
      ? 'wait until it has ended, then try again.'
      : `its window ends in at most ${seconds} s. Wait until then, and try again.`
  return new DirtyRateError('ERR_MEASURING', `QEMU measures ${what} for another client`, {
    hint: `QEMU has one job for all of its clients, and goes on with one that was interrupted: ${hint}`,
    ...(cause === undefined ? {} : { cause }),
    ...(seconds === undefined ? {} : { details: { secondsLeft: seconds } }),
  })
}
