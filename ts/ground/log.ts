/**
 * Sends the events of the native core (`tracing`) and of the TypeScript facade to one listener of
 * this copy of the package.
 */

import { setImmediate } from 'node:timers'
import { parseChoice, parseListener } from './arguments.js'
import { hostProcess } from './host-process.js'
import { callNative, native } from './native.js'

/** The levels, from the one with the fewest events to the one with the most. */
export const logLevels = ['off', 'error', 'warn', 'info', 'debug', 'trace'] as const
/** Which events a listener gets: one of {@link logLevels}. */
export type LogLevel = (typeof logLevels)[number]

/** One event. `target` is the module from which it comes, and `fields` has its values as text. */
export interface LogEvent {
  level: Exclude<LogLevel, 'off'>
  target: string
  message: string
  fields: Record<string, string>
}

/**
 * The message of an event that replaces other events, which were dropped because no listener took
 * them in time. Its field `events` is their number.
 */
export const DROPPED = 'events dropped'

interface Sink {
  level: LogLevel
  listener: (event: LogEvent) => void
  /** The listener's number in the binding. */
  id: number
}

let sink: Sink | undefined
/**
 * The events, oldest first, each with its listener. The events before index `heard` have been
 * delivered already.
 */
let pending: { to: Sink; event: LogEvent }[] = []
let heard = 0
/** Whether a listener is being called. */
let delivering = false

/**
 * Sends events of `level` and above to `listener`, in their order. It replaces the listener before
 * it, which still gets the events that happened until then. With null there is no listener any
 * more. Another copy of this package, or a worker, has its own listener, and each listener gets all
 * events of the core. Listening does not keep the process alive. If a listener throws, the error is
 * thrown later, so that it disturbs no call of this package. Events that are caused by a listener's
 * own calls come after all earlier events. Throws ERR_ARGUMENT.
 *
 * @example
 * ```ts
 * import { openTarget, setLog } from 'dirtyrate'
 *
 * setLog('info', ({ level, target, message }) => console.log(level, target, message))
 * const target = await openTarget('guest:idle')
 * await target.close()
 * setLog('off', null)
 * ```
 */
export function setLog(level: LogLevel, listener: ((event: LogEvent) => void) | null): void {
  parseChoice(level, 'level', logLevels)
  if (listener !== null) parseListener(listener, 'listener')
  // The old listener gets the events that have happened until now.
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

/** Emits an event of the facade. */
export function emit(
  level: Exclude<LogLevel, 'off'>,
  target: string,
  message: string,
  fields: Record<string, unknown>,
): void {
  const to = sink
  if (to === undefined || logLevels.indexOf(level) > logLevels.indexOf(to.level)) return
  // The earlier events of the core come before this one.
  deliver()
  takeAll()
  const texts = Object.entries(fields).map(([key, value]) => [key, String(value)])
  pending.push({ to, event: { level, target, message, fields: Object.fromEntries(texts) } })
  deliver()
}

/**
 * Takes some of the events that the core has emitted so far. Returns false if there are none left.
 */
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
 * Delivers every event that has happened so far. Events that are caused by a listener's own calls
 * wait for the next turn of the event loop. Otherwise a listener that causes an event at each event
 * would block the loop for ever.
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
      // There is no event left, because its listener was removed.
      if (next === undefined) break
      hear(next.to, next.event)
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

function hear({ listener }: Sink, event: LogEvent): void {
  try {
    listener(event)
  } catch (error) {
    hostProcess.nextTick(() => {
      throw error
    })
  }
}
