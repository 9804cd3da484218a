/**
 * The measurements under way on one target. They can be ended early, and each one cleans up after
 * itself.
 */

import { Abort, type Signal } from '../ground/abort.js'
import { parseSignal } from '../ground/arguments.js'
import type { DirtyRateError } from '../ground/errors.js'
import type { Source } from './source.js'

/** The part of a source that this module needs. */
type Measurable = Pick<Source, 'requireMeasurable' | 'explain'>

/** The early end of one measurement, for whatever reason comes first. */
export class Interruption {
  /** Aborted when the measurement is interrupted, with the same reason. */
  readonly signal: Signal
  readonly #abort = new Abort()
  readonly #of: Measurable
  readonly #onInterrupt: () => void
  #reason: { error: unknown; isOfCaller: boolean } | undefined

  constructor(of: Measurable, onInterrupt: () => void) {
    this.signal = this.#abort
    this.#of = of
    this.#onInterrupt = onInterrupt
  }

  /** `isOfCaller` says that the signal of the measurement's caller was aborted. */
  interrupt(error: unknown, isOfCaller = false): void {
    if (this.#reason !== undefined) return
    this.#reason = { error, isOfCaller }
    this.#abort.abort(error)
    this.#onInterrupt()
  }

  /** Whether the caller has interrupted the measurement, and not the target. */
  get isOfCaller(): boolean {
    return this.#reason?.isOfCaller === true
  }

  /** Makes a measurement that was interrupted end as if it had not been: it has a result. */
  forget(): void {
    this.#reason = undefined
  }

  /** Throws the reason if the measurement was interrupted. */
  check(): void {
    if (this.#reason !== undefined) throw this.#reason.error
  }

  /**
   * Why the measurement really ended, if a call failed with `error`. If it was interrupted, the
   * reason is that of the interruption.
   */
  explain(error: unknown): unknown {
    return this.#reason === undefined ? this.#of.explain(error) : this.#reason.error
  }
}

export class Measurements {
  readonly #of: Measurable
  readonly #running = new Map<Interruption, Promise<unknown>>()

  constructor(of: Measurable) {
    this.#of = of
  }

  /**
   * Runs one measurement to its end. Rejects with `signal.reason`, with what the source's
   * `requireMeasurable` throws, and with what the source makes of a failed call.
   */
  async run<T>(
    signal: AbortSignal | undefined,
    measure: (interruption: Interruption) => Promise<T>,
  ): Promise<T> {
    const { interruption, leave } = this.enter(signal, () => {})
    const measured = measure(interruption)
    this.#running.set(interruption, measured)
    try {
      return await measured
    } catch (error) {
      throw interruption.explain(error)
    } finally {
      leave()
    }
  }

  /**
   * Begins a measurement that is not a single promise. `onInterrupt` is called when it is
   * interrupted, and `cleanedUp` settles when it has cleaned up. Throws `signal.reason`,
   * ERR_ARGUMENT if `signal` is no signal, and what the source's `requireMeasurable` throws.
   */
  enter(
    signal: AbortSignal | undefined,
    onInterrupt: () => void,
    cleanedUp: Promise<unknown> = Promise.resolve(),
  ): { interruption: Interruption; leave: () => void } {
    parseSignal(signal)?.throwIfAborted()
    this.#of.requireMeasurable()
    const interruption = new Interruption(this.#of, onInterrupt)
    const onAbort = (): void => interruption.interrupt(signal?.reason, true)
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#running.set(interruption, cleanedUp)
    const leave = (): void => {
      this.#running.delete(interruption)
      signal?.removeEventListener('abort', onAbort)
    }
    return { interruption, leave }
  }

  /** Ends every measurement with `error`. Resolves when all of them have cleaned up. */
  async interruptAll(error: DirtyRateError): Promise<void> {
    const running = [...this.#running]
    for (const [interruption] of running) interruption.interrupt(error)
    await Promise.allSettled(running.map(([, cleanedUp]) => cleanedUp))
  }
}
