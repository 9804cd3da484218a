/** The measurements under way on one VM: what ends one early, and that each cleans up behind itself. */

import { parseSignal } from '../ground/arguments.js'
import { type DirtyRateError, hasCode } from '../ground/errors.js'
import type { CancelToken, NativeVirtualMachine } from '../ground/native.js'
import { fromNative } from '../ground/native-errors.js'
import { AT_BEGIN, requireRunning, WITHIN } from '../targets/vm/running.js'

/** What a native call fails with when the guest no longer runs. */
const NOT_RUNNING = ['ERR_STATE', 'ERR_PAUSED', 'ERR_GUEST_CRASHED'] as const

/** One measurement's early end, by whatever comes first. */
export class Interruption {
  readonly token: CancelToken
  /** Aborted with what it was interrupted with. */
  readonly signal: AbortSignal
  readonly #controller = new AbortController()
  readonly #vm: NativeVirtualMachine
  readonly #onInterrupt: () => void
  #reason: { error: unknown } | undefined

  constructor(vm: NativeVirtualMachine, token: CancelToken, onInterrupt: () => void) {
    this.token = token
    this.signal = this.#controller.signal
    this.#vm = vm
    this.#onInterrupt = onInterrupt
  }

  interrupt(error: unknown): void {
    if (this.#reason !== undefined) return
    this.#reason = { error }
    this.token.cancel()
    this.#controller.abort(error)
    this.#onInterrupt()
  }

  /** Throws what it was interrupted with, if it was. */
  check(): void {
    if (this.#reason !== undefined) throw this.#reason.error
  }

  /** Why it really ended, when a call failed with `error`: what it was interrupted with comes first. */
  explain(error: unknown): unknown {
    if (this.#reason !== undefined) return this.#reason.error
    // The native thread looks at the vCPUs while it waits: say what happened in the same words, and with the same hints, as at the start.
    if (NOT_RUNNING.some(code => hasCode(error, code))) {
      try {
        requireRunning(this.#vm, WITHIN)
      } catch (said) {
        return said
      }
    }
    return fromNative(error)
  }
}

export class Measurements {
  readonly #vm: NativeVirtualMachine
  readonly #newToken: () => CancelToken
  readonly #running = new Map<Interruption, Promise<unknown>>()

  constructor(vm: NativeVirtualMachine, newToken: () => CancelToken) {
    this.#vm = vm
    this.#newToken = newToken
  }

  /**
   * Runs one measurement to its end. Rejects with `signal.reason`, with what `requireRunning` throws when the VM is not running at
   * either end, and with ERR_KVM_IOCTL.
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
   * is left. Throws `signal.reason`, ERR_ARGUMENT for what is no signal, and as `requireRunning`.
   */
  enter(
    signal: AbortSignal | undefined,
    onInterrupt: () => void,
    cleanedUp: Promise<unknown> = Promise.resolve(),
  ): { interruption: Interruption; leave: () => void } {
    parseSignal(signal)?.throwIfAborted()
    requireRunning(this.#vm, AT_BEGIN)
    const interruption = new Interruption(this.#vm, this.#newToken(), onInterrupt)
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
