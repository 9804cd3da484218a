/**
 * The native binding, for all other modules. It is loaded at its first use, so that importing the
 * package never fails. If loading fails, the error says which binary was looked for and why it did
 * not load (binary.ts).
 */

import type * as Binding from '../../native/binding.cjs'
import { loadBinary } from './binary.js'
import { fromNative } from './native-errors.js'

export type {
  CancelToken,
  NativeBlock,
  NativeCapabilities,
  NativeCompressibility,
  NativeCrash,
  NativeCreateOptions,
  NativeDeadlineReport,
  NativeGuestProgram,
  NativeInstant,
  NativeProcess,
  NativeProcessRange,
  NativeReap,
  NativeReapOptions,
  NativeSampleOptions,
  NativeSampleReport,
  NativeSoftDirtyReport,
  NativeSyncReport,
  NativeTruth,
  NativeVirtualMachine,
  NativeWorkloadOptions,
} from '../../native/binding.cjs'

let loaded: typeof Binding | undefined

/** The binding. Throws ERR_NATIVE_LOAD. */
export function native(): typeof Binding {
  loaded ??= loadBinary()
  return loaded
}

/**
 * Makes one native call. Whatever the call throws or rejects with becomes a DirtyRateError with a
 * hint.
 */
export function callNative<T>(call: () => Promise<T>): Promise<T>
export function callNative<T>(call: () => T): T
export function callNative<T>(call: () => T | Promise<T>): T | Promise<T> {
  const rethrow = (error: unknown): never => {
    throw fromNative(error)
  }
  try {
    const result = call()
    // The binding's promises belong to the realm in which it was loaded, which can be another realm
    // than this one.
    return isPromise(result) ? result.catch(rethrow) : result
  } catch (error) {
    return rethrow(error)
  }
}

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return Object.prototype.toString.call(value) === '[object Promise]'
}
