/**
 * A clock that stands still while a round is due that may not begin. All periods that are kept by
 * it get longer by the same factor, and rounds that were spread over time stay spread.
 */

import { performance } from 'node:perf_hooks'
import { clearImmediate, clearTimeout, setImmediate, setTimeout } from 'node:timers'

/** How often it is looked whether the clock may go on. */
const LOOK_MS = 100
/** The time over which the stretch is told. */
const STRETCH_MS = 60_000
const STRETCH_STEP_MS = 5_000

interface Waiter {
  /** When it is due, by this clock. */
  readonly at: number
  readonly wake: () => void
}

export class HeldClock {
  /** Asked each time that somebody is due. */
  readonly #mayGoOn: () => boolean
  /** Those that wait, the first one first. */
  readonly #waiting: Waiter[] = []
  /** How long the clock has stood still before the last one went. */
  #stoodMs = 0
  /** Whether the first one was due, and could not go. */
  #isHeld = false
  #cancel = (): void => {}
  /** Times of the host, with the time of this clock at each. */
  readonly #past: { at: number; shown: number }[] = []

  constructor(mayGoOn: () => boolean) {
    this.#mayGoOn = mayGoOn
    this.#past.push({ at: performance.now(), shown: this.now() })
  }

  /** The clock does not pass the time at which somebody is due who still waits. */
  now(): number {
    const free = performance.now() - this.#stoodMs
    return Math.min(free, this.#waiting[0]?.at ?? free)
  }

  /** How many times longer than asked periods were in the last minute. */
  stretch(): number {
    const at = performance.now()
    const shown = this.now()
    if (at - (this.#past.at(-1)?.at ?? 0) >= STRETCH_STEP_MS) this.#past.push({ at, shown })
    while ((this.#past[1]?.at ?? at) <= at - STRETCH_MS) this.#past.shift()
    const [first] = this.#past
    if (first === undefined || at === first.at) return 1
    return Math.max((at - first.at) / (shown - first.shown), 1)
  }

  /** Resolves when `ms` have passed by this clock. Rejects with `signal.reason`. */
  pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason)
        return
      }
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        this.#next()
        reject(signal.reason)
      }
      const waiter: Waiter = {
        at: this.now() + ms,
        wake: () => {
          signal.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      signal.addEventListener('abort', onAbort, { once: true })
      const later = this.#waiting.findIndex(({ at }) => at > waiter.at)
      this.#waiting.splice(later === -1 ? this.#waiting.length : later, 0, waiter)
      this.#next()
    })
  }

  /** Looks again when the first one is due, or when it may go. */
  #next(): void {
    const [first] = this.#waiting
    if (first === undefined) {
      this.#cancel()
      this.#isHeld = false
      return
    }
    // A look that others put off again and again would never come.
    if (this.#isHeld) return
    this.#cancel()
    const left = first.at - (performance.now() - this.#stoodMs)
    if (left > 0) {
      const timer = setTimeout(() => this.#look(), left)
      this.#cancel = () => clearTimeout(timer)
    } else {
      // What the one before has begun is known when the next one is due.
      const turn = setImmediate(() => this.#look())
      this.#cancel = () => clearImmediate(turn)
    }
  }

  #look(): void {
    this.#isHeld = false
    this.stretch()
    const [first] = this.#waiting
    const lateMs = performance.now() - this.#stoodMs - (first?.at ?? 0)
    // A timer of Node may come too early, by less than 1 ms.
    if (first !== undefined && lateMs > -1) {
      if (this.#mayGoOn()) {
        this.#stoodMs += Math.max(lateMs, 0)
        this.#waiting.shift()
        first.wake()
      } else {
        this.#isHeld = true
        const timer = setTimeout(() => this.#look(), LOOK_MS)
        this.#cancel = () => clearTimeout(timer)
      }
    }
    this.#next()
  }
}
