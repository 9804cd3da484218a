/** Arguments without a unit, checked before anything is done with them: options, signals, names, counts, choices, listeners, arrays. */

import { argumentError } from './errors.js'
import { knownNames } from './suggest.js'

/** The names of all options of `T`: the compiler refuses a list that has not kept up with its interface. */
export type OptionNames<T> = Readonly<Record<keyof T, true>>

/** The options of a call that takes only a signal. */
export const SIGNAL: OptionNames<{ signal?: AbortSignal | undefined }> = { signal: true }

/**
 * `options` if it is an object and each of its own names is one of `names`. An unknown option is refused, because ignoring it would
 * silently do something else than was asked for. Throws ERR_ARGUMENT, which names it `name` and shows the form or the likely name.
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

/** `object` if it is one. Throws ERR_ARGUMENT, naming it `name` and showing what it may be. */
export function parseObject<T extends object>(object: T, name: string, form: string): T {
  if (typeof object !== 'object' || object === null) {
    throw argumentError(`${name}: ${show(object)} is not an object`, `Give ${form}.`)
  }
  return object
}

/** `text` if it is a string that is not empty. Throws ERR_ARGUMENT, naming it `name`. */
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
    const range = high === Number.MAX_SAFE_INTEGER ? `of at least ${low}` : `from ${low} to ${high}`
    throw argumentError(`${name}: ${shown} is out of range`, `Give a whole number ${range}.`)
  }
  return value
}

/**
 * A count written in decimal digits, as on a command line or in a URI. Throws ERR_ARGUMENT, naming it `name` and showing `example`, which
 * must be a count that the caller takes.
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

/** `value` if it is one of `choices`. Throws ERR_ARGUMENT that lists them. */
export function parseChoice<T extends string>(value: unknown, name: string, choices: readonly T[]): T {
  const found = choices.find(choice => choice === value)
  if (found === undefined) {
    throw argumentError(
      `${name}: ${show(value)} is not known`,
      knownNames(typeof value === 'string' ? value : '', choices),
    )
  }
  return found
}

/** What is longer is shown by its beginning and its end. */
const LONGEST_SHOWN = 100
const SHOWN_END = 20

/** `text` as an error shows it: by its beginning and its end where it is long. */
export function shortened(text: string): string {
  if (text.length <= LONGEST_SHOWN) return text
  return `${text.slice(0, LONGEST_SHOWN - SHOWN_END)}...${text.slice(-SHOWN_END)}`
}

/** A value as an error shows it, whatever it is. */
export function show(value: unknown): string {
  if (typeof value === 'string') return `'${shortened(value)}'`
  try {
    return String(value)
  } catch {
    // An object without a string to give.
    return `an ${typeof value}`
  }
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

/**
 * Arrays over memory of their own, which no other thread can write. Since TypeScript 5.7 these are `Uint32Array<ArrayBuffer>` and the
 * like; before it the types had no parameter, and this spelling is right in both.
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
