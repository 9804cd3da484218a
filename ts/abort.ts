/**
 * The way of an AbortSignal to a native call. The signal itself never gets there (napi-rs would overwrite its handler, and ignore one
 * that is already aborted): a token does, and the caller's promise rejects with the signal's own reason.
 */

import type { CancelToken } from './native.js'

/** Runs `call` with `token`; rejects with `signal.reason` if the signal is, or gets, aborted before `call` has settled. */
export async function untilAborted<T>(
  signal: AbortSignal | undefined,
  token: CancelToken,
  call: (token: CancelToken) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted()
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
