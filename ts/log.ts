/** The events of the native core (`tracing`) and of this side, to one listener of this copy of the package. */

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
/** Events that are still to be heard, each by whom it happened to, oldest first: those from `heard` on. */
let pending: { to: Sink; event: LogEvent }[] = []
let heard = 0
/** A listener is being called. */
let delivering = false

/**
 * Sends events of `level` and above to `listener`, in their order; null ends that at once. It takes the place of the listener before it,
 * but for events that happened before. Another copy of this package, or a worker, has a listener of its own, and each hears all events of
 * the core. Listening keeps no process alive, and a listener that throws does so on its own, later. What a listener's own calls cause is
 * heard after the events that came before. Throws ERR_ARGUMENT.
 */
export function setLog(level: LogLevel, listener: ((event: LogEvent) => void) | null): void {
  parseChoice(level, 'level', logLevels)
  if (listener !== null) parseListener(listener, 'listener')
  // What has happened is still for whom it happened to.
  deliver()
  const before = sink
  if (listener === null || level === 'off') {
    sink = undefined
    pending = []
    heard = 0
  } else {
    takeAll()
    sink = { level, listener, id: callNative(() => native().addLog(level, deliver)) }
  }
  if (before !== undefined) callNative(() => native().removeLog(before.id))
}

/** An event of this side. */
export function emit(
  level: Exclude<LogLevel, 'off'>,
  target: string,
  message: string,
  fields: Record<string, unknown>,
): void {
  const to = sink
  if (to === undefined || logLevels.indexOf(level) > logLevels.indexOf(to.level)) return
  // What the core did for it came before.
  deliver()
  takeAll()
  const texts = Object.entries(fields).map(([key, value]) => [key, String(value)])
  pending.push({ to, event: { level, target, message, fields: Object.fromEntries(texts) } })
  deliver()
}

/** Takes some of what the core has told so far, or none where all has been taken. */
function takeSome(): boolean {
  const to = sink
  if (to === undefined) return false
  const events = callNative(() => native().takeLog(to.id))
  for (const event of events) pending.push({ to, event })
  return events.length > 0
}

function takeAll(): void {
  while (takeSome());
}

/**
 * Has everything heard that has happened so far. What a listener's own calls cause waits for the event loop's next turn: a listener that
 * causes an event at each event would keep the loop from turning for ever.
 */
function deliver(): void {
  if (delivering) return
  delivering = true
  try {
    deliverAll()
  } finally {
    delivering = false
  }
}

function deliverAll(): void {
  do {
    for (let left = pending.length - heard; left > 0; left--) {
      const next = pending[heard++]
      // The listener has ended it.
      if (next === undefined) break
      tell(next.to, next.event)
    }
    if (heard < pending.length) {
      pending = pending.slice(heard)
      heard = 0
      setImmediate(deliver).unref()
      break
    }
    pending = []
    heard = 0
  } while (takeSome())
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
