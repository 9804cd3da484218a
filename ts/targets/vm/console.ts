/** The serial port of a VM as an async iterable of text. */

import { hasCode } from '../../ground/errors.js'
import { type CancelToken, callNative, type NativeVirtualMachine } from '../../ground/native.js'

/**
 * The output of the serial port, piece by piece, until the VM ends. Each piece goes to one reader.
 * Leaving the loop cancels a read that waits.
 */
export function consoleOf(
  vm: NativeVirtualMachine,
  newToken: () => CancelToken,
): AsyncIterable<string> {
  return {
    [Symbol.asyncIterator](): AsyncIterator<string, undefined> {
      const token = newToken()
      let ended = false
      return {
        async next(): Promise<IteratorResult<string, undefined>> {
          if (!ended) {
            const text = await callNative(() => vm.readConsole(token)).catch((error: unknown) => {
              if (hasCode(error, 'ERR_CANCELLED') || hasCode(error, 'ERR_CLOSED')) return null
              throw error
            })
            if (text !== null) return { done: false, value: text }
            ended = true
          }
          return { done: true, value: undefined }
        },
        async return(): Promise<IteratorResult<string, undefined>> {
          ended = true
          token.cancel()
          return { done: true, value: undefined }
        },
      }
    },
  }
}
