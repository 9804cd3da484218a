/** The measurements under way on one target: what ends one early, and that each cleans up behind itself. */

import { parseSignal } from '../ground/arguments.js'
import type { DirtyRateError } from '../ground/errors.js'
import type { Source } from './source.js'

/** What the measurements need of their source. */
type Measurable = Pick<Source, 'requireMeasurable' | 'explain'>

/** One measurement's early end, by whatever comes first. */
export class Interruption {
  /** Aborted with what the measurement was interrupted with. */
  readonly signal: AbortSignal
  readonly #controller = new AbortController()
  readonly #of: Measurable
  readonly #onInterrupt: () => void
  #reason: { error: unknown } | undefined

  constructor(of: Measurable, onInterrupt: () => void) {
    this.signal = this.#controller.signal
    this.#of = of
    this.#onInterrupt = onInterrupt
  }

  interrupt(error: unknown): void {
    if (this.#reason !== undefined) return
    this.#reason = { error }
    this.#controller.abort(error)
    this.#onInterrupt()
  }

  /** Throws what the measurement was interrupted with, if it was. */
  check(): void {
    if (this.#reason !== undefined) throw this.#reason.error
  }

  /** Why the measurement really ended, when a call failed with `error`: what it was interrupted with comes first. */
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
   * Runs one measurement to its end. Rejects with `signal.reason`, with what the source's `requireMeasurable` throws, and with what the
   * source makes of a failed call.
   */
  async run<T>(
    signal: AbortSignal | undefined,
    measure: (interruption: Interruption) => Promise<T>,
  ): Promise<T> {
    const { interruption, leave } = this.enter(signal, () => {})
    const measured = measure(interruption)
    this.#running.set(interruption, measured)
    try {
      const result = await measured
      interruption.check()
      return result
    } catch (error) {
      throw interruption.explain(error)
    } finally {
      leave()
    }
  }

  /**
   * Begins a measurement that is not one promise. `onInterrupt` is called when it is interrupted; `cleanedUp` settles when nothing of it
   * is left. Throws `signal.reason`, ERR_ARGUMENT for what is no signal, and as the source's `requireMeasurable`.
   */
  enter(
    signal: AbortSignal | undefined,
    onInterrupt: () => void,
    cleanedUp: Promise<unknown> = Promise.resolve(),
  ): { interruption: Interruption; leave: () => void } {
    parseSignal(signal)?.throwIfAborted()
    this.#of.requireMeasurable()
    const interruption = new Interruption(this.#of, onInterrupt)
    const onAbort = (): void => interruption.interrupt(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#running.set(interruption, cleanedUp)
    const leave = (): void => {
      this.#running.delete(interruption)
      signal?.removeEventListener('abort', onAbort)
    }
    return { interruption, leave }
  }

  /** Ends every measurement with `error`; resolves when each has cleaned up. */
  async interruptAll(error: DirtyRateError): Promise<void> {
    const running = [...this.#running]
    for (const [interruption] of running) interruption.interrupt(error)
    await Promise.allSettled(running.map(([, cleanedUp]) => cleanedUp))
  }
}
