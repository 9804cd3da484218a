/**
 * The wait of a command before its first window: for a text on the guest's console, and then for
 * some time.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { show } from '../ground/arguments.js'
import { argumentError, DirtyRateError } from '../ground/errors.js'
import { parseDuration } from '../ground/units.js'
import type { Target } from '../targets/target.js'
import type { EndState } from '../targets/vm/lifecycle.js'
import { endedError, endOf } from './guest-end.js'
import { during } from './progress.js'
import type { Session } from './session.js'

/** The options about the wait, as they are on the command line. */
export interface WaitOptions {
  delay?: string
  untilConsole?: string
  consoleTimeout?: string
}

/** What to wait for. */
export interface Wait {
  delayMs: number
  /** The text that the console has to print first; undefined if there is none. */
  console?: { text: string; timeoutMs: number }
}

const LONGEST_MS = 24 * 3_600_000

/** Checks the options before a VM is made. Throws ERR_ARGUMENT. */
export function parseWait({ delay, untilConsole, consoleTimeout }: WaitOptions): Wait {
  const delayMs = delay === undefined ? 0 : parseTime(delay, '--delay')
  if (untilConsole === '') {
    throw argumentError(
      '--until-console: it is empty',
      "Give what the console will print: 'login:'.",
    )
  }
  if (untilConsole === undefined && consoleTimeout !== undefined) {
    throw argumentError(
      '--console-timeout: used only with --until-console',
      'Give --until-console TEXT too.',
    )
  }
  if (untilConsole === undefined) return { delayMs }
  const timeoutMs =
    consoleTimeout === undefined
      ? Number.POSITIVE_INFINITY
      : parseTime(consoleTimeout, '--console-timeout')
  return { delayMs, console: { text: untilConsole, timeoutMs } }
}

function parseTime(text: string, name: string): number {
  const isTime = (ms: number): boolean => ms <= LONGEST_MS
  const ms = parseDuration(text, name, isTime)
  if (!isTime(ms))
    throw argumentError(`${name}: ${show(text)} is out of range`, 'Give at most 24h.')
  return ms
}

/**
 * Waits for the console, then for the delay. Rejects with the reason of the session's signal if
 * this is aborted first.
 */
export async function waitBefore(session: Session, target: Target, wait: Wait): Promise<void> {
  const { delayMs } = wait
  if (wait.console !== undefined) await waitForConsole(session, target, wait.console)
  if (delayMs === 0) return
  const end = await during(session, 'waiting before the first window', delayMs, () =>
    pause(delayMs, target, session.signal),
  )
  if (end !== undefined)
    throw endedError(target, end, { name: '--delay', when: 'before the first window' })
}

/**
 * Sleeps, unless the guest ends before, and returns how it ended. Rejects with the signal's own
 * reason.
 */
async function pause(
  ms: number,
  target: Target,
  signal: AbortSignal,
): Promise<EndState | undefined> {
  const woken = new AbortController()
  const ended = endOf(target)
  const timeUp = sleep(ms, undefined, { signal: AbortSignal.any([signal, woken.signal]) }).catch(
    () => signal.throwIfAborted(),
  )
  try {
    return (await Promise.race(ended === undefined ? [timeUp] : [ended, timeUp])) ?? undefined
  } finally {
    woken.abort()
  }
}

async function waitForConsole(
  session: Session,
  target: Target,
  { text, timeoutMs }: NonNullable<Wait['console']>,
): Promise<void> {
  const { console } = target
  if (console === undefined) {
    throw argumentError(
      '--until-console: this target has no console',
      'Leave it out, or give --delay.',
    )
  }
  const { signal } = session
  const pieces = console[Symbol.asyncIterator]()
  const stop = new AbortController()
  // Leaving the console ends a read that waits.
  const leave = (): void => void pieces.return?.()
  const timeUp =
    timeoutMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(() => stop.abort(), timeoutMs)
  stop.signal.addEventListener('abort', leave)
  signal.addEventListener('abort', leave)
  const seen = new Seen(text)
  try {
    await during(session, `waiting until the console prints ${show(text)}`, timeoutMs, async () => {
      while (!seen.found) {
        const { done, value } = await pieces.next()
        if (done) break
        seen.add(value)
      }
    })
  } finally {
    clearTimeout(timeUp)
    signal.removeEventListener('abort', leave)
    leave()
  }
  signal.throwIfAborted()
  if (seen.found) return
  const name = '--until-console'
  if (stop.signal.aborted) {
    throw new DirtyRateError(
      'ERR_STATE',
      `${name}: the time is up before the console printed ${show(text)}`,
      {
        hint:
          seen.lastLine ??
          'The console printed nothing. A Linux needs console=ttyS0 in its cmdline.',
      },
    )
  }
  const when = `before its console printed ${show(text)}`
  throw endedError(target, await endOf(target), { name, when, hint: seen.lastLine })
}

/** How many characters of the console are kept, to show its last line in an error. */
const KEPT = 4096

/** The end of what the console has printed so far. */
class Seen {
  readonly #text: string
  #tail = ''
  found = false

  constructor(text: string) {
    this.#text = text
  }

  /** The text may come in several pieces. */
  add(piece: string): void {
    const all = this.#tail + piece
    this.found ||= all.includes(this.#text)
    this.#tail = all.slice(-Math.max(KEPT, this.#text.length))
  }

  /** A hint that says what the console printed instead; undefined if it printed nothing. */
  get lastLine(): string | undefined {
    const last = this.#tail.split(/[\r\n]+/).findLast(line => line.trim() !== '')
    return last === undefined ? undefined : `The last line of the console is ${show(last)}.`
  }
}
