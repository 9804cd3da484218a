/**
 * Durations, sizes and rates as people write them. A number is in the API's own unit (ms, bytes,
 * bytes per second). A string always has to name its unit, so that a bare number on a command line
 * is refused and not guessed.
 */

import { show } from './arguments.js'
import { argumentError } from './errors.js'
import { likelyUnit } from './likely-unit.js'

/** Milliseconds, or a string with its unit: `'1s'`, `'250ms'`, `'1.5min'`. */
export type Duration = number | string
/** Bytes, or a string with its unit: `'4GiB'`, `'512MiB'`, `'1GB'`. */
export type Size = number | string
/** Bytes per second, or a string with its unit: `'100MiB/s'`, `'400MB/s'`, `'10Gbit/s'`. */
export type Rate = number | string

/**
 * The size of a unit in the API's own unit: `factor` times ten to the `exponent`. In this form
 * decimals can be read without rounding.
 */
interface Unit {
  factor: bigint
  exponent: number
}

const unit = (factor: number, exponent = 0): Unit => ({ factor: BigInt(factor), exponent })

const BYTE = unit(1)

const DURATION: Record<string, Unit> = {
  ns: unit(1, -6),
  us: unit(1, -3),
  µs: unit(1, -3),
  ms: unit(1),
  s: unit(1, 3),
  min: unit(60, 3),
  h: unit(3600, 3),
}

const SIZE: Record<string, Unit> = {
  B: unit(1),
  KiB: unit(2 ** 10),
  MiB: unit(2 ** 20),
  GiB: unit(2 ** 30),
  TiB: unit(2 ** 40),
  kB: unit(1, 3),
  MB: unit(1, 6),
  GB: unit(1, 9),
  TB: unit(1, 12),
}

/** Units of bits in bytes. An eighth of a byte is 125 thousandths. */
const BITS: Record<string, Unit> = {
  bit: unit(125, -3),
  kbit: unit(125),
  Mbit: unit(125, 3),
  Gbit: unit(125, 6),
  Tbit: unit(125, 9),
}

const RATE: Record<string, Unit> = Object.fromEntries(
  Object.entries({ ...SIZE, ...BITS }).map(([name, factor]) => [`${name}/s`, factor]),
)

interface Kind {
  noun: string
  units: Record<string, Unit>
  examples: string
  number: string
  /** The units that may have been meant by a number without a unit, the most probable one first. */
  likely(bare: number): readonly string[]
}

/**
 * Below this a bare duration is assumed to be in seconds, and from this on in milliseconds, because
 * nobody measures for 20 ms by hand.
 */
const LIKELY_SECONDS = 50
/**
 * Up to this a bare size is assumed to be in GiB, up to the next limit in MiB, and above that in
 * bytes.
 */
const LIKELY_GIB = 64
const LIKELY_MIB = 2 ** 20

const KINDS: Record<'duration' | 'size' | 'rate', Kind> = {
  duration: {
    noun: 'a duration',
    units: DURATION,
    examples: '1s, 250ms',
    number: 'milliseconds',
    likely: bare => (bare < LIKELY_SECONDS ? ['s', 'ms'] : ['ms']),
  },
  size: {
    noun: 'a size',
    units: SIZE,
    examples: '4GiB, 512MiB',
    number: 'bytes',
    likely: bare =>
      bare <= LIKELY_GIB ? ['GiB', 'MiB', 'B'] : bare < LIKELY_MIB ? ['MiB', 'KiB', 'B'] : ['B'],
  },
  rate: {
    noun: 'a rate',
    units: RATE,
    examples: '100MiB/s, 10Gbit/s',
    number: 'bytes per second',
    likely: bare => (bare < LIKELY_MIB ? ['MiB/s', 'B/s'] : ['B/s']),
  },
}

/** A quantity in the API's own unit. */
interface Quantity {
  /** The number that is nearest to the written value. */
  value: number
  /** Whether the written value is whole, and not only the number nearest to it. */
  isWhole: boolean
}

/** Whether the caller accepts a quantity. A hint proposes only quantities that are accepted. */
type Accepts = (quantity: Quantity) => boolean

/**
 * The longest accepted text. It is longer than any sensible quantity, and short enough to be
 * computed quickly.
 */
const LONGEST_TEXT = 100

/** `µ` is the micro sign, U+00B5; keyboards for Greek give U+03BC, which looks the same. */
const WITH_UNIT = /^([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([A-Za-z\u00b5\u03bc/]*)$/

function parse(value: unknown, name: string, kind: Kind, accepts: Accepts): Quantity {
  const shown = show(value)
  const give = `Give a number of ${kind.number} or a string with its unit: ${kind.examples}.`
  if (typeof value === 'number') {
    if (!Number.isFinite(value) || value < 0)
      throw argumentError(`${name}: ${shown} is not ${kind.noun}`, give)
    return { value, isWhole: Number.isInteger(value) }
  }
  if (typeof value !== 'string') throw argumentError(`${name}: ${shown} is not ${kind.noun}`, give)
  const match = value.length > LONGEST_TEXT ? null : WITH_UNIT.exec(value.trim())
  if (!match)
    throw argumentError(
      `${name}: ${shown} is not ${kind.noun}`,
      `Write it with its unit: ${kind.examples}.`,
    )
  const [, digits = '', unitText = ''] = match
  const written = unitText.replace('\u03bc', '\u00b5')
  const quantityIn = (known: string): Quantity => quantity(digits, kind.units[known] ?? unit(1))
  if (written === '') {
    const meant = kind.likely(Number(digits)).find(likely => accepts(quantityIn(likely)))
    throw argumentError(
      `${name}: ${shown} has no unit`,
      meant === undefined
        ? `Write it with its unit: ${kind.examples}.`
        : `Did you mean ${digits}${meant}?`,
    )
  }
  if (!Object.hasOwn(kind.units, written)) {
    const meant = likelyUnit(written, Object.keys(kind.units))
    const suggestion =
      meant !== undefined && accepts(quantityIn(meant)) ? `Did you mean ${digits}${meant}? ` : ''
    throw argumentError(
      `${name}: '${written}' is not a unit of ${kind.noun}`,
      `${suggestion}Units: ${Object.keys(kind.units).join(', ')}. They are case-sensitive.`,
    )
  }
  return quantityIn(written)
}

/**
 * The quantity that `digits`, with or without a point, and `unit` mean. It is computed in decimal,
 * and rounded once.
 */
function quantity(digits: string, { factor, exponent }: Unit): Quantity {
  const [whole = '', fraction = ''] = digits.split('.')
  const product = BigInt(whole + fraction) * factor
  const power = exponent - fraction.length
  return {
    value: Number(`${product}e${power}`),
    isWhole: product % 10n ** BigInt(Math.max(0, -power)) === 0n,
  }
}

/**
 * Returns `value` in milliseconds, which need not be a whole number. Throws ERR_ARGUMENT, which
 * calls it `name`; the hint proposes only what `accepts` accepts.
 */
export function parseDuration(
  value: Duration,
  name: string,
  accepts: (ms: number) => boolean = () => true,
): number {
  return parse(value, name, KINDS.duration, quantity => accepts(quantity.value)).value
}

const isBytes: Accepts = ({ value, isWhole }) => isWhole && value <= Number.MAX_SAFE_INTEGER

/**
 * Returns `value` in whole bytes below 2^53. Throws ERR_ARGUMENT, which calls it `name`; the hint
 * proposes only what `accepts` accepts.
 */
export function parseSize(
  value: Size,
  name: string,
  accepts: (bytes: number) => boolean = () => true,
): number {
  const size = parse(
    value,
    name,
    KINDS.size,
    quantity => isBytes(quantity) && accepts(quantity.value),
  )
  if (size.value > Number.MAX_SAFE_INTEGER) {
    throw argumentError(
      `${name}: ${show(value)} is more than 2^53 bytes`,
      'Give a size that a machine can have.',
    )
  }
  if (!size.isWhole) {
    throw argumentError(
      `${name}: ${show(value)} is not a whole number of bytes`,
      'Give a multiple of the page size.',
    )
  }
  return size.value
}

const isRate: Accepts = ({ value }) => value > 0 && value <= Number.MAX_SAFE_INTEGER

/**
 * Returns `value` in bytes per second, above 0 and below 2^53. Throws ERR_ARGUMENT, which calls it
 * `name`.
 */
export function parseRate(value: Rate, name: string): number {
  const rate = parse(value, name, KINDS.rate, isRate)
  if (!isRate(rate)) {
    throw argumentError(
      `${name}: ${show(value)} is out of range`,
      'Give a rate above 0 and below 2^53 bytes per second.',
    )
  }
  return rate.value
}

const BINARY: readonly (readonly [string, number])[] = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
]

/**
 * `bytes` in the largest unit that keeps it whole, in the form that {@link parseSize} reads:
 * 1073741824 as `1GiB`.
 */
export function formatSize(bytes: number): string {
  const unit = BINARY.find(([, factor]) => bytes >= factor && bytes % factor === 0)
  return unit ? `${bytes / unit[1]}${unit[0]}` : `${decimal(bytes)}B`
}

/** `bytesPerSecond` in the form that {@link parseRate} reads. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatSize(bytesPerSecond)}/s`
}

/** `value` without an exponent, because quantities have no exponents: 1e-7 as `0.0000001`. */
function decimal(value: number): string {
  const [mantissa = '', exponent] = String(value).split('e-')
  if (exponent === undefined) return mantissa
  const digits = mantissa.replace('.', '')
  return `0.${'0'.repeat(Number(exponent) - 1)}${digits}`
}

/** The units of rates. */
export const rateUnits: readonly string[] = Object.keys(RATE)

/** Returns `unit` if it is one of {@link rateUnits}. Throws ERR_ARGUMENT, which calls it `name`. */
export function parseRateUnit(unit: string, name: string): string {
  if (rateUnits.includes(unit)) return unit
  const meant = likelyUnit(unit, rateUnits)
  throw argumentError(
    `${name}: ${show(unit)} is not a unit of a rate`,
    `${meant === undefined ? '' : `Did you mean ${meant}? `}Units: ${rateUnits.join(', ')}.`,
  )
}

/** `bytesPerSecond` in `unit`, which is one of {@link rateUnits}. */
export function inRateUnit(bytesPerSecond: number, unit: string): number {
  const { factor, exponent } = RATE[unit] ?? BYTE
  // A positive power of ten is exact, and its inverse is not.
  const scaled = bytesPerSecond / Number(factor)
  return exponent < 0 ? scaled * 10 ** -exponent : scaled / 10 ** exponent
}
