/**
 * Connects an AbortSignal with a native call. The signal itself is never passed to native code,
 * because napi-rs would overwrite its handler, and ignore a signal that is already aborted. Native
 * code gets a token instead, and the caller's promise rejects with the signal's own reason.
 */

import { parseSignal } from './arguments.js'
import { type CancelToken, native } from './native.js'

/** The part of an AbortSignal that this package uses. */
export interface Signal {
  readonly aborted: boolean
  readonly reason: unknown
  throwIfAborted(): void
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void
  removeEventListener(type: 'abort', listener: () => void): void
}

/**
 * A signal of this package's own, with the method that aborts it. `AbortController` is a global of
 * Node that no module exports, and a realm such as that of `node:vm` does not have it.
 */
export class Abort implements Signal {
  #reason: { error: unknown } | undefined
  readonly #listeners = new Set<() => void>()

  get aborted(): boolean {
    return this.#reason !== undefined
  }

  get reason(): unknown {
    return this.#reason?.error
  }

  throwIfAborted(): void {
    if (this.#reason !== undefined) throw this.#reason.error
  }

  /** Each listener is called once, because a signal is aborted once. */
  addEventListener(_: 'abort', listener: () => void): void {
    this.#listeners.add(listener)
  }

  removeEventListener(_: 'abort', listener: () => void): void {
    this.#listeners.delete(listener)
  }

  abort(error: unknown): void {
    if (this.#reason !== undefined) return
    this.#reason = { error }
    for (const listener of this.#listeners) listener()
    this.#listeners.clear()
  }
}

/** A token that is cancelled when `signal` is aborted. */
export function tokenOf(signal: Signal): CancelToken {
  const token: CancelToken = new (native().CancelToken)()
  if (signal.aborted) token.cancel()
  else signal.addEventListener('abort', () => token.cancel(), { once: true })
  return token
}

/**
 * Runs `call` with `token`. Rejects with `signal.reason` if the signal is aborted before `call` has
 * settled, and with ERR_ARGUMENT if `signal` is no signal.
 */
export async function untilAborted<T>(
  signal: AbortSignal | undefined,
  token: CancelToken,
  call: (token: CancelToken) => Promise<T>,
): Promise<T> {
  parseSignal(signal)?.throwIfAborted()
  const cancel = (): void => token.cancel()
  signal?.addEventListener('abort', cancel, { once: true })
  try {
    const result = await call(token)
    signal?.throwIfAborted()
    return result
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener('abort', cancel)
  }
}
