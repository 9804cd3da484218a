/** The events of the native core (`tracing`), for whoever wants to see them. */

import { callNative, native } from './native.js'
import { parseChoice } from './units.js'

/** Least to most talkative. */
export const logLevels = ['off', 'error', 'warn', 'info', 'debug', 'trace'] as const
export type LogLevel = (typeof logLevels)[number]

/** One event: `target` is the module that it comes from, `fields` its values as text. */
export interface LogEvent {
  level: string
  target: string
  message: string
  fields: Record<string, string>
}

/** Sends events of `level` and above to `listener`; null ends it. Listening keeps no process alive. Throws ERR_ARGUMENT. */
export function setLog(level: LogLevel, listener: ((event: LogEvent) => void) | null): void {
  parseChoice(level, 'level', logLevels)
  callNative(() => native().setLog(level, listener))
}
