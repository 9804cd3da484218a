/** The pace of a watch whose windows follow each other without a gap. */

import { performance } from 'node:perf_hooks'

const NS_PER_MS = 1e6

/** The opening of the current window, and when it may end, both in ms from the first opening. */
export class Schedule {
  readonly #everyMs: number
  readonly #now: () => number
  /** The opening of the first window, as this side's clock saw it. */
  readonly #start: number
  #opened = 0

  constructor(everyMs: number, now: () => number = () => performance.now()) {
    this.#everyMs = everyMs
    this.#now = now
    this.#start = now()
  }

  /**
   * How long the current window has to be, so that it ends at the next multiple of the period. If
   * the window opened late, and less than half a period is left until this multiple, the window
   * ends at the multiple after it, because a very short window says nothing.
   */
  nextWindowMs(): number {
    const now = Math.max(this.#opened, this.#now() - this.#start)
    const multiple = Math.max(
      Math.ceil(now / this.#everyMs),
      Math.floor(this.#opened / this.#everyMs + 0.5) + 1,
    )
    return multiple * this.#everyMs - this.#opened
  }

  /**
   * Notes that the next window opened `afterNs` after the one before, by the clock of the native
   * thread. JavaScript's clock only decides which multiples have passed.
   */
  reopened(afterNs: number): void {
    this.#opened += afterNs / NS_PER_MS
  }
}
