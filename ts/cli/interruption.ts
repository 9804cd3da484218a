/**
 * The signals that end a command. The first signal cancels the command and lets it clean up; a
 * second one ends the process at once.
 */

import { setMaxListeners } from 'node:events'
import { constants as fsConstants, fstatSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { basename } from 'node:path'
import { DirtyRateError } from '../ground/errors.js'
import { readText } from '../ground/proc.js'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
type Signal = (typeof SIGNALS)[number]

/**
 * The same signal within this time counts as the same event. Ctrl-C reaches every process of the
 * terminal's job, and npm and npx also pass their signal on to their child, which then gets two.
 * `timeout` signals its child and then the child's group. A busy npm may take half a second.
 */
const SAME_EVENT_MS = 1000

/** What bin/dirtyrate.cjs waits for, which listens until the command does. */
const LISTENS = Symbol.for('dirtyrate.listens')

/** O_ACCMODE of open(2). */
const ACCESS_MODE = 3

export class Interruption {
  readonly #abort = new AbortController()
  readonly #onSecond: () => void
  readonly #ignoresHangup = isUnderNohup()
  /** What SIGHUP does instead of ending the command. */
  #onHangup: (() => void) | undefined
  #first: { name: Signal; at: number } | undefined
  readonly #listener = (name: NodeJS.Signals): void => this.#take(name as Signal)

  /** Listens from now on. `onSecond` is called before a second signal ends the process. */
  constructor(onSecond: () => void) {
    this.#onSecond = onSecond
    // Each target of a command listens, and Node warns of more than ten listeners as of a leak.
    setMaxListeners(0, this.signal)
    for (const name of SIGNALS) process.on(name, this.#listener)
    const events: NodeJS.EventEmitter = process
    events.emit(LISTENS)
  }

  /** This signal is aborted by the first signal to the process. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /**
   * The exit status by which shells report the signal that has come; undefined if none has come.
   */
  get status(): number | undefined {
    return this.#first === undefined ? undefined : statusOf(this.#first.name)
  }

  /** From now on SIGHUP calls `listener`, and does not end the command. */
  onHangup(listener: () => void): void {
    this.#onHangup = listener
  }

  /** Cancels the command for a reason other than a signal. */
  abort(reason: unknown): void {
    this.#abort.abort(reason)
  }

  stop(): void {
    for (const name of SIGNALS) process.off(name, this.#listener)
  }

  #take(name: Signal): void {
    if (name === 'SIGHUP' && this.#onHangup !== undefined) {
      this.#onHangup()
      return
    }
    if (name === 'SIGHUP' && this.#ignoresHangup) return
    const now = performance.now()
    if (this.#first === undefined) {
      this.#first = { name, at: now }
      const hint = 'The measurement was cancelled, and what it had opened is closed.'
      this.#abort.abort(new DirtyRateError('ERR_CANCELLED', 'interrupted', { hint }))
    } else if (name !== this.#first.name || now - this.#first.at > SAME_EVENT_MS) {
      this.#onSecond()
      process.exit(statusOf(name))
    }
  }
}

function statusOf(name: Signal): number {
  return 128 + constants.signals[name]
}

/**
 * nohup(1) starts a program with SIGHUP ignored, but Node gives every signal its default again.
 * Three other signs of nohup remain. bash says in the variable `_` which program started this one.
 * nohup replaces a terminal at standard input by a /dev/null that can only be written to. And a
 * shell that runs under nohup ignores the signal itself.
 */
function isUnderNohup(): boolean {
  return basename(process.env._ ?? '') === 'nohup' || hasInputOfNohup() || parentIgnoresHangup()
}

function hasInputOfNohup(): boolean {
  const flags = Number.parseInt(read('/proc/self/fdinfo/0', /^flags:\s*([0-7]+)$/m) ?? '0', 8)
  if ((flags & ACCESS_MODE) !== fsConstants.O_WRONLY) return false
  try {
    return fstatSync(0).rdev === statSync('/dev/null').rdev
  } catch {
    return false
  }
}

function parentIgnoresHangup(): boolean {
  const ignored = read(`/proc/${process.ppid}/status`, /^SigIgn:\s*([0-9a-f]+)$/m) ?? '0'
  return ((BigInt(`0x${ignored}`) >> BigInt(constants.signals.SIGHUP - 1)) & 1n) === 1n
}

/** What `pattern` finds in a file of /proc; undefined if there is no such file. */
function read(file: string, pattern: RegExp): string | undefined {
  return pattern.exec(readText(file) ?? '')?.[1]
}
