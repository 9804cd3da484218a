/**
 * Reads and writes guest memory piece by piece, so that no piece blocks the event loop for longer
 * than a small part of a millisecond.
 */

import { setImmediate } from 'node:timers'
import { argumentError } from '../../ground/errors.js'
import { callNative, type NativeVirtualMachine } from '../../ground/native.js'

/** How many bytes a native thread copies in one call. */
const PIECE = 2 ** 20
/**
 * How many bytes are copied from or into an array without a break. This takes less than a
 * millisecond even if none of the array's pages exists yet.
 */
const BYTES_AT_ONCE = 2 ** 18

/**
 * Copies guest memory from `address` into all of `into`. Rejects with ERR_ARGUMENT outside of RAM:
 * nothing is copied then.
 */
export async function readMemory(
  vm: NativeVirtualMachine,
  address: number,
  into: Uint8Array,
): Promise<void> {
  const { length } = into
  for (let at = 0; at === 0 || at < length; at += PIECE) {
    const bytes = Math.min(PIECE, length - at)
    const piece = await callNative(() => vm.readMemory(address + at, bytes, length - at))
    for (let part = 0; part < bytes; part += BYTES_AT_ONCE) {
      if (part > 0) await nextTurn()
      requireWhole(into, length, 'into')
      into.set(piece.subarray(part, part + BYTES_AT_ONCE), at + part)
    }
  }
}

/**
 * Writes `bytes` to guest memory from `address` on. Rejects with ERR_ARGUMENT outside of RAM:
 * nothing is written then.
 */
export async function writeMemory(
  vm: NativeVirtualMachine,
  address: number,
  bytes: Uint8Array,
): Promise<void> {
  const { length } = bytes
  for (let at = 0; at === 0 || at < length; at += BYTES_AT_ONCE) {
    requireWhole(bytes, length, 'bytes')
    const piece = bytes.subarray(at, at + BYTES_AT_ONCE)
    await callNative(() => vm.writeMemory(address + at, piece, length - at))
  }
}

function requireWhole(array: Uint8Array, length: number, name: string): void {
  if (array.length !== length) {
    throw argumentError(
      `${name}: it was transferred away, or changed its length, while it was copied`,
      'Keep the buffer until the promise has settled.',
    )
  }
}

function nextTurn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
