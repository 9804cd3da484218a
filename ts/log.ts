/** The events of the native core (`tracing`) and of this side, to one listener. */

import { parseListener } from './arguments.js'
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

/** The message of the event that says how many events are missing where it stands, in its field `events`: nobody took them in time. */
export const DROPPED = 'events dropped'

interface Sink {
  level: LogLevel
  listener: (event: LogEvent) => void
  /** What the native queue knows it by. */
  id: number
}

let sink: Sink | undefined

/**
 * Sends events of `level` and above to `listener`, in their order; null ends it. Listening keeps no process alive, and a listener that
 * throws does so on its own, later. Throws ERR_ARGUMENT.
 */
export function setLog(level: LogLevel, listener: ((event: LogEvent) => void) | null): void {
  parseChoice(level, 'level', logLevels)
  if (listener !== null) parseListener(listener, 'listener')
  // What has happened is still for whom it happened to.
  deliverNative()
  const id = callNative(() => native().setLog(level, listener === null ? null : deliverNative))
  sink = listener === null || level === 'off' ? undefined : { level, listener, id }
}

/** An event of this side. */
export function emit(
  level: Exclude<LogLevel, 'off'>,
  target: string,
  message: string,
  fields: Record<string, unknown>,
): void {
  if (sink === undefined || logLevels.indexOf(level) > logLevels.indexOf(sink.level)) return
  // What the core did for it came before.
  deliverNative()
  const texts = Object.entries(fields).map(([key, value]) => [key, String(value)])
  tell(sink, { level, target, message, fields: Object.fromEntries(texts) })
}

/** Takes what the core has told so far. */
function deliverNative(): void {
  const to = sink
  if (to === undefined) return
  for (;;) {
    const events = callNative(() => native().takeLog(to.id))
    if (events.length === 0) return
    for (const event of events) tell(to, event)
  }
}

function tell({ listener }: Sink, event: LogEvent): void {
  try {
    listener(event)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
