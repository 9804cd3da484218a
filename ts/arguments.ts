/** Arguments that are no quantities, checked before anything is done with them: options, signals, names, listeners, arrays to fill. */

import { argumentError } from './errors.js'
import { show } from './units.js'

/** `options` if it is an object. Throws ERR_ARGUMENT, naming it `name` and showing what it may be. */
export function parseOptions<T extends object>(options: T, name = 'options', form = '{}'): T {
  if (typeof options !== 'object' || options === null) {
    throw argumentError(`${name}: ${show(options)} is not an object`, `Give ${form}.`)
  }
  return options
}

/** `text` if it is a string that is not empty. Throws ERR_ARGUMENT, naming it `name`. */
export function parseText(text: string, name: string): string {
  if (typeof text !== 'string') throw argumentError(`${name}: ${show(text)} is not a string`)
  if (text === '') throw argumentError(`${name}: it is empty`)
  return text
}

/** `flag` if it is a boolean. Throws ERR_ARGUMENT, naming it `name`. */
export function parseFlag(flag: boolean, name: string): boolean {
  if (typeof flag !== 'boolean') throw argumentError(`${name}: ${show(flag)} is not true or false`)
  return flag
}

/** `listener` if it can be called. Throws ERR_ARGUMENT, naming it `name`. */
export function parseListener<T>(listener: T, name: string): T {
  if (typeof listener !== 'function') throw argumentError(`${name}: ${show(listener)} is not a function`)
  return listener
}

/** `signal` if it is what an AbortController has; undefined for none, which for fetch() is null. Throws ERR_ARGUMENT. */
export function parseSignal(signal: AbortSignal | null | undefined): AbortSignal | undefined {
  if (signal === undefined || signal === null) return undefined
  if (typeof signal.throwIfAborted !== 'function') {
    throw argumentError(`signal: ${show(signal)} is not an AbortSignal`, 'Give new AbortController().signal.')
  }
  return signal
}

/** The arrays that the core reads or fills. */
interface Arrays {
  Uint8Array: Uint8Array
  Uint32Array: Uint32Array
  BigUint64Array: BigUint64Array
}

/**
 * `array` if it is of that type, and over memory of its own: another thread could write what the core reads or fills. Throws
 * ERR_ARGUMENT, naming it `name`.
 */
export function parseArray<Type extends keyof Arrays>(
  array: Arrays[Type],
  type: Type,
  name: string,
): Arrays[Type] {
  // Its own tag: what another realm made is as good.
  if (!ArrayBuffer.isView(array) || array[Symbol.toStringTag] !== type) {
    throw argumentError(`${name}: not a ${type}`, `Give a ${type}.`)
  }
  if (Object.prototype.toString.call(array.buffer) === '[object SharedArrayBuffer]') {
    throw argumentError(
      `${name}: over shared memory`,
      'Give an array over an ArrayBuffer, not a SharedArrayBuffer.',
    )
  }
  return array
}
