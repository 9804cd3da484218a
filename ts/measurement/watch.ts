/** The iterator that a loop over a target's rounds drives. */

import { DirtyRateError } from '../ground/errors.js'
import type { DirtyRateMeasurement } from '../qapi/info.js'
import type { Interruption, Measurements } from './measurements.js'

/**
 * What `watchDirtyRate()` returns. Use it in a `for await` loop, or call `next()` for one round
 * after the other.
 */
export interface DirtyRateWatch<M = DirtyRateMeasurement> extends AsyncIterable<M> {
  /**
   * Measures the next round, which begins with this call. The result is `done` when the watch has
   * ended.
   */
  next(): Promise<IteratorResult<M, void>>
  /** Ends the watch, also while a round is under way. */
  return(): Promise<IteratorResult<M, void>>
  /** The watch itself: a loop over it and `next()` ask for the same rounds. */
  [Symbol.asyncIterator](): DirtyRateWatch<M>
  /** Ends the watch as {@link return} does, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * The iterator over `rounds`. Nothing begins before the first `next()`. Leaving the loop, an abort,
 * a failure, or an interruption of the VM's measurements ends the watch and cleans up at once, also
 * between two rounds. A failure is reported once, and then the loop is over.
 */
export class Watch<T> implements DirtyRateWatch<T> {
  readonly #measurements: Measurements
  readonly #signal: AbortSignal | undefined
  readonly #rounds: (interruption: Interruption) => AsyncGenerator<T, void, undefined>
  #entered: ReturnType<Measurements['enter']> | undefined
  #generator: AsyncGenerator<T, void, undefined> | undefined
  #over = false
  #left = false
  /** The last call of `next()`, for which the next one waits. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(
    measurements: Measurements,
    signal: AbortSignal | undefined,
    rounds: (interruption: Interruption) => AsyncGenerator<T, void, undefined>,
  ) {
    this.#measurements = measurements
    this.#signal = signal
    this.#rounds = rounds
  }

  next(): Promise<IteratorResult<T, void>> {
    const next = this.#turn.then(() => this.#next())
    this.#turn = next.catch(() => undefined)
    return next
  }

  async return(): Promise<IteratorResult<T, void>> {
    this.#left = true
    this.#entered?.interruption.interrupt(
      new DirtyRateError('ERR_CANCELLED', `the loop over the watch was left within the window`),
    )
    await this.#cleanUp()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async #next(): Promise<IteratorResult<T, void>> {
    if (this.#over || this.#left) return { done: true, value: undefined }
    try {
      const { interruption } = this.#enter()
      interruption.check()
      const round = await this.#generator?.next()
      // A round that has its result is delivered, also if a listener has interrupted the watch.
      if (round?.done === false) return round
      interruption.check()
      throw new RangeError('a watch has rounds without end')
    } catch (error) {
      const said = this.#entered === undefined ? error : this.#entered.interruption.explain(error)
      this.#over = true
      await this.#cleanUp()
      if (this.#isLeft()) return { done: true, value: undefined }
      throw said
    }
  }

  #enter(): ReturnType<Measurements['enter']> {
    if (this.#entered !== undefined) return this.#entered
    let cleanedUp = (): void => {}
    const cleaned = new Promise<void>(resolve => {
      cleanedUp = resolve
    })
    const onInterrupt = (): void => void this.#cleanUp().then(cleanedUp)
    this.#entered = this.#measurements.enter(this.#signal, onInterrupt, cleaned)
    this.#generator = this.#rounds(this.#entered.interruption)
    return this.#entered
  }

  /** Whether the watch was left while a round was under way. */
  #isLeft(): boolean {
    return this.#left
  }

  /** Cleans up after the current round, which the token has cancelled. */
  async #cleanUp(): Promise<void> {
    await this.#generator?.return().catch(() => undefined)
    this.#entered?.leave()
  }
}
