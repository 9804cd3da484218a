/** The pace of a watch whose windows follow each other without a gap. */

const NS_PER_MS = 1e6

/** Where the current window opened, and when the next one may end: both in ms from the first opening. */
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
   * How long the window that is open has to be, to end at the first multiple that is still ahead. A multiple less than half a period after a
   * late opening is passed over, because a window of next to nothing teaches nobody anything.
   */
  nextWindowMs(): number {
    const now = Math.max(this.#opened, this.#now() - this.#start)
    const multiple = Math.max(
      Math.ceil(now / this.#everyMs),
      Math.floor(this.#opened / this.#everyMs + 0.5) + 1,
    )
    return multiple * this.#everyMs - this.#opened
  }

  /** The next window opened `afterNs` after the one before, by the clock of the native thread. This side's clock only decides what has passed. */
  reopened(afterNs: number): void {
    this.#opened += afterNs / NS_PER_MS
  }
}
