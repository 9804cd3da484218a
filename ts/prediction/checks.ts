/** Checks of the numbers in a document. Each throws ERR_ARGUMENT, which names the place. */

import { show } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import type { Bounded } from '../results/curve.js'

/** What a number may be. */
interface Range {
  low?: number
  high: number
  whole?: boolean
}

const isInRange = (value: unknown, { low = 0, high, whole = false }: Range): value is number =>
  typeof value === 'number' && value >= low && value <= high && (!whole || Number.isInteger(value))

/** JSON has no `undefined`: a member that is undefined is not in the document. */
const missing = (name: string): string => `${name}: it is missing`

/** `value` if it is a number in this range. */
export function numberOf(value: unknown, name: string, range: Range): number {
  if (!isInRange(value, range)) {
    const { low = 0, high, whole } = range
    throw argumentError(
      value === undefined ? missing(name) : `${name}: ${show(value)} is out of range`,
      `Give a ${whole === true ? 'whole ' : ''}number from ${low} to ${high}.`,
    )
  }
  return value
}

/** `value` if it is a string that is not empty. */
export function textOf(value: unknown, name: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw argumentError(`${name}: ${show(value)} is not a text`)
}

/** `value` if it is an array with so many elements. */
export function arrayOf<T>(
  value: unknown,
  name: string,
  least: number,
  most: number,
): readonly T[] {
  if (value === undefined) throw argumentError(missing(name))
  if (!Array.isArray(value)) throw argumentError(`${name}: ${show(value)} is not a list`)
  if (value.length < least || value.length > most) {
    throw argumentError(
      `${name}: it has ${value.length} elements`,
      least === most ? `Give ${most}, one for each window.` : `Give ${least} to ${most}.`,
    )
  }
  // Holes become undefined, which no check passes over.
  return Array.from(value)
}

/** `value` if it is an array of `length` numbers from 0 to `high`. */
export function columnOf(
  value: unknown,
  name: string,
  length: number,
  high: number,
): readonly number[] {
  const column = arrayOf<number>(value, name, length, length)
  const range = { low: 0, high }
  // A name for each number would take longer than all else, because a curve may have millions.
  const wrong = column.findIndex(number => !isInRange(number, range))
  if (wrong !== -1) numberOf(column[wrong], `${name}[${wrong}]`, range)
  return column
}

/** `value` if it is a figure with its bounds, in their order. */
export function boundedOf(value: unknown, name: string, most: number): Bounded {
  const { value: figure, low, high } = Object(value) as Partial<Bounded>
  const checked = {
    low: numberOf(low, `${name}.low`, { high: most }),
    value: numberOf(figure, `${name}.value`, { high: most }),
    high: numberOf(high, `${name}.high`, { high: most }),
  }
  if (checked.low > checked.value || checked.value > checked.high) {
    throw argumentError(
      `${name}: ${checked.low}, ${checked.value} and ${checked.high} are not in their order`,
      'Give a figure between its bounds.',
    )
  }
  return checked
}

/** What `read` makes of `value`; undefined if there is no value. */
export function optional<T, R>(value: T | null | undefined, read: (value: T) => R): R | undefined {
  return value === undefined || value === null ? undefined : read(value)
}
