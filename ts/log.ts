/** The events of the native core (`tracing`) and of this side, to one listener. */

import { callNative, native } from './native.js'
import { parseChoice } from './units.js'

/** Least to most talkative. */
export const logLevels = ['off', 'error', 'warn', 'info', 'debug', 'trace'] as const
export type LogLevel = (typeof logLevels)[number]

/** One event: `target` is the module that it comes from, `fields` its values as text. */
export interface LogEvent {
  level: Exclude<LogLevel, 'off'>
  target: string
  message: string
  fields: Record<string, string>
}

let sink: { level: LogLevel; listener: (event: LogEvent) => void } | undefined

/** Sends events of `level` and above to `listener`; null ends it. Listening keeps no process alive. Throws ERR_ARGUMENT. */
export function setLog(level: LogLevel, listener: ((event: LogEvent) => void) | null): void {
  parseChoice(level, 'level', logLevels)
  callNative(() => native().setLog(level, listener))
  sink = listener === null || level === 'off' ? undefined : { level, listener }
}

/** An event of this side. */
export function emit(
  level: Exclude<LogLevel, 'off'>,
  target: string,
  message: string,
  fields: Record<string, unknown>,
): void {
  if (sink === undefined || logLevels.indexOf(level) > logLevels.indexOf(sink.level)) return
  const texts = Object.entries(fields).map(([key, value]) => [key, String(value)])
  sink.listener({ level, target, message, fields: Object.fromEntries(texts) })
}
