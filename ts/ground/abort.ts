/**
 * Connects an AbortSignal with a native call. The signal itself is never passed to native code,
 * because napi-rs would overwrite its handler, and ignore a signal that is already aborted. Native
 * code gets a token instead, and the caller's promise rejects with the signal's own reason.
 */

import { parseSignal } from './arguments.js'
import type { CancelToken } from './native.js'

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
