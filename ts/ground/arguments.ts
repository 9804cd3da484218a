/**
 * Checks of arguments without a unit: options, signals, names, counts, choices, listeners, arrays.
 */

import { argumentError } from './errors.js'
import { knownNames } from './suggest.js'

/**
 * The names of all options of `T`: the compiler refuses a list that has not kept up with its
 * interface.
 */
export type OptionNames<T> = Readonly<Record<keyof T, true>>

/** The options of a call that takes only a signal. */
export const SIGNAL: OptionNames<{ signal?: AbortSignal | undefined }> = { signal: true }

/**
 * `options` if it is an object and each of its own names is one of `names`. An unknown option is
 * refused, because ignoring it would silently do something else than the caller wants. The error is
 * ERR_ARGUMENT; it calls the options `name`, and shows their form or the name that was probably
 * meant.
 */
export function parseOptions<T extends object>(
  options: T,
  names: OptionNames<T>,
  name = 'options',
  form = '{}',
): T {
  parseObject(options, name, form)
  refuseUnknown(options, names, name)
  return options
}

/**
 * Throws ERR_ARGUMENT for a name in `options` that is not one of `names`. The hint proposes one of
 * `useful`.
 */
export function refuseUnknown<T extends object>(
  options: T,
  names: OptionNames<T>,
  name: string,
  useful: readonly string[] = Object.keys(names),
): void {
  const unknown = Object.keys(options).find(key => !Object.hasOwn(names, key))
  if (unknown !== undefined) {
    throw argumentError(`${name}: '${unknown}' is not known`, knownNames(unknown, useful))
  }
}

/**
 * Returns `object` if it is an object. Throws ERR_ARGUMENT, which calls it `name` and shows the
 * expected form.
 */
export function parseObject<T extends object>(object: T, name: string, form: string): T {
  if (typeof object !== 'object' || object === null || Array.isArray(object)) {
    throw argumentError(`${name}: ${show(object)} is not an object`, `Give ${form}.`)
  }
  return object
}

/**
 * Returns `text` if it is a string that is not empty. Throws ERR_ARGUMENT, which calls it `name`.
 */
export function parseText(text: string, name: string): string {
  if (typeof text !== 'string') throw argumentError(`${name}: ${show(text)} is not a string`)
  if (text === '') throw argumentError(`${name}: it is empty`)
  return text
}

/**
 * Returns `value` if it is a whole number from `low` to `high`. Throws ERR_ARGUMENT, which names
 * `name` and shows the value as `shown`.
 */
export function parseCount(
  value: number,
  name: string,
  low: number,
  high: number = Number.MAX_SAFE_INTEGER,
  shown: string = show(value),
): number {
  if (!Number.isSafeInteger(value) || value < low || value > high) {
    // The largest number is of interest only to somebody who has exceeded it.
    const isOpen = high === Number.MAX_SAFE_INTEGER && !(value > high)
    const range = isOpen ? `of at least ${low}` : `from ${low} to ${high}`
    throw argumentError(`${name}: ${shown} is out of range`, `Give a whole number ${range}.`)
  }
  return value
}

/**
 * Reads a count in decimal digits, as on a command line or in a URI. Throws ERR_ARGUMENT, which
 * calls it `name` and shows `example`; this must be a count that the caller accepts.
 */
export function parseCountText(
  text: string,
  name: string,
  low: number,
  high?: number,
  example: number = low,
): number {
  if (!/^[0-9]+$/.test(text))
    throw argumentError(
      `${name}: ${show(text)} is not a whole number`,
      `Give digits only, such as ${name}=${example}.`,
    )
  return parseCount(Number(text), name, low, high, shortened(text))
}

/** Returns `value` if it is one of `choices`. Throws ERR_ARGUMENT, which lists the choices. */
export function parseChoice<T extends string>(
  value: unknown,
  name: string,
  choices: readonly T[],
): T {
  const found = choices.find(choice => choice === value)
  if (found === undefined) {
    throw argumentError(
      `${name}: ${show(value)} is not known`,
      knownNames(typeof value === 'string' ? value : '', choices),
    )
  }
  return found
}

/** A longer text is shown by its beginning and its end. */
const LONGEST_SHOWN = 100
const SHOWN_END = 20

/** `text` as an error shows it: only its beginning and its end if it is long. */
export function shortened(text: string): string {
  if (text.length <= LONGEST_SHOWN) return text
  return `${text.slice(0, LONGEST_SHOWN - SHOWN_END)}...${text.slice(-SHOWN_END)}`
}

/** Any value as an error shows it. */
export function show(value: unknown): string {
  if (typeof value === 'string') return `'${shortened(value)}'`
  try {
    const text = shortened(String(value))
    // The text of an array has only its elements.
    return Array.isArray(value) ? `[${text}]` : text
  } catch {
    // The object cannot be converted to a string.
    return `an ${typeof value}`
  }
}

/** Returns `flag` if it is a boolean. Throws ERR_ARGUMENT, which calls it `name`. */
export function parseFlag(flag: boolean, name: string): boolean {
  if (typeof flag !== 'boolean') throw argumentError(`${name}: ${show(flag)} is not true or false`)
  return flag
}

/** Returns `listener` if it can be called. Throws ERR_ARGUMENT, which calls it `name`. */
export function parseListener<T>(listener: T, name: string): T {
  if (typeof listener !== 'function')
    throw argumentError(`${name}: ${show(listener)} is not a function`)
  return listener
}

/**
 * Returns `signal` if it is an AbortSignal. Null counts as no signal, as in fetch(). Throws
 * ERR_ARGUMENT.
 */
export function parseSignal(signal: AbortSignal | null | undefined): AbortSignal | undefined {
  if (signal === undefined || signal === null) return undefined
  const { throwIfAborted, addEventListener, removeEventListener } = Object(
    signal,
  ) as Partial<AbortSignal>
  if (
    ![throwIfAborted, addEventListener, removeEventListener].every(
      part => typeof part === 'function',
    )
  ) {
    throw argumentError(
      `signal: ${show(signal)} is not an AbortSignal`,
      'Give new AbortController().signal.',
    )
  }
  return signal
}

/**
 * Arrays over memory of their own, which no other thread can write. Since TypeScript 5.7 these are
 * `Uint32Array<ArrayBuffer>` and the like. Older versions have no type parameter there. This
 * spelling is right for both.
 */
export type OwnUint8Array = ReturnType<Uint8Array['slice']>
export type OwnUint32Array = ReturnType<Uint32Array['slice']>
export type OwnBigUint64Array = ReturnType<BigUint64Array['slice']>

/** The arrays that the core reads or fills. */
interface Arrays {
  Uint8Array: Uint8Array
  Uint32Array: Uint32Array
  BigUint64Array: BigUint64Array
}

/**
 * Returns `array` if it has this type and memory of its own. Shared memory is refused, because
 * another thread could write it while the core reads or fills it. Throws ERR_ARGUMENT, which calls
 * it `name`.
 */
export function parseArray<Type extends keyof Arrays>(
  array: Arrays[Type],
  type: Type,
  name: string,
): Arrays[Type] {
  // The tag is compared, and not the class, so that arrays of another realm are accepted.
  if (!ArrayBuffer.isView(array) || array[Symbol.toStringTag] !== type) {
    throw argumentError(`${name}: not a ${type}`, `Give a ${type}.`)
  }
  if (Object.prototype.toString.call(array.buffer) === '[object SharedArrayBuffer]') {
    throw argumentError(
      `${name}: it uses shared memory`,
      'Give an array over an ArrayBuffer, not a SharedArrayBuffer.',
    )
  }
  return array
}
