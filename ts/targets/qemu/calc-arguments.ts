/** The arguments of QEMU's calc-dirty-rate, and which windows QEMU takes. */

import { argumentError } from '../../ground/errors.js'
import type { Method } from '../../measurement/source.js'
import { LONGEST_MS, SHORTEST_MS } from '../../qapi/limits.js'
import { measureModeOf } from '../../qapi/measure-mode.js'

const MS_PER_SECOND = 1000
/** The unit of all times. QEMU has it since 8.2; versions before that count in seconds. */
export const MILLISECONDS = { 'calc-time-unit': 'millisecond' } as const

/** Throws ERR_ARGUMENT for a window that no QEMU measures. */
export function requireWindow(windowMs: number): void {
  if (windowMs < SHORTEST_MS || windowMs > LONGEST_MS) {
    throw argumentError(
      `window: QEMU measures ${SHORTEST_MS} ms to ${LONGEST_MS} ms, and not ${windowMs} ms`,
      'Give a window within these limits.',
    )
  }
  if (!Number.isInteger(windowMs)) {
    throw argumentError(
      `window: QEMU measures whole milliseconds, and not ${windowMs} ms`,
      'Give a whole number of milliseconds.',
    )
  }
}

/** The arguments, for a QEMU that has units of time or not. */
export function calcArguments(
  method: Method,
  windowMs: number,
  hasUnits = true,
): Record<string, unknown> {
  return {
    'calc-time': hasUnits ? windowMs : windowMs / MS_PER_SECOND,
    ...(hasUnits ? MILLISECONDS : {}),
    ...(method.mode === 'page-sampling' ? { 'sample-pages': method.samples.samplesPerGiB } : {}),
    mode: measureModeOf(method.mode),
  }
}
