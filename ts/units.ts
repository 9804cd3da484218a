/**
 * Durations, sizes and rates as people write them. A number has the API's own unit (ms, bytes, bytes per second); a string always
 * names its unit, so that a bare number on a command line is refused instead of guessed.
 */

import { argumentError } from './errors.js'

/** Milliseconds, or a string with its unit: `'1s'`, `'250ms'`, `'1.5min'`. */
export type Duration = number | string
/** Bytes, or a string with its unit: `'4GiB'`, `'512MiB'`, `'1GB'`. */
export type Size = number | string
/** Bytes per second, or a string with its unit: `'100MiB/s'`, `'400MB/s'`, `'10Gbit/s'`. */
export type Rate = number | string

const DURATION: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
}

const SIZE: Record<string, number> = {
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
}

const BITS: Record<string, number> = {
  bit: 1 / 8,
  kbit: 125,
  Mbit: 125_000,
  Gbit: 125_000_000,
  Tbit: 125_000_000_000,
}

const RATE: Record<string, number> = Object.fromEntries(
  Object.entries({ ...SIZE, ...BITS }).map(([unit, factor]) => [`${unit}/s`, factor]),
)

interface Kind {
  noun: string
  units: Record<string, number>
  examples: string
  number: string
  /** What a number without its unit most likely meant. */
  likely(bare: number): string
}

/** Below this a bare duration is taken for seconds: nobody measures for 20 ms by hand, and 1000 means milliseconds. */
const LIKELY_SECONDS = 50
/** Up to this a bare size is taken for GiB, up to the next for MiB, and above for bytes. */
const LIKELY_GIB = 64
const LIKELY_MIB = 2 ** 20

const KINDS: Record<'duration' | 'size' | 'rate', Kind> = {
  duration: {
    noun: 'a duration',
    units: DURATION,
    examples: '1s, 250ms',
    number: 'milliseconds',
    likely: bare => (bare < LIKELY_SECONDS ? `${bare}s` : `${bare}ms`),
  },
  size: {
    noun: 'a size',
    units: SIZE,
    examples: '4GiB, 512MiB',
    number: 'bytes',
    likely: bare => (bare <= LIKELY_GIB ? `${bare}GiB` : bare < LIKELY_MIB ? `${bare}MiB` : `${bare}B`),
  },
  rate: {
    noun: 'a rate',
    units: RATE,
    examples: '100MiB/s, 10Gbit/s',
    number: 'bytes per second',
    likely: bare => (bare < LIKELY_MIB ? `${bare}MiB/s` : `${bare}B/s`),
  },
}

const WITH_UNIT = /^([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([A-Za-zµ/]*)$/

function parse(value: unknown, name: string, kind: Kind): number {
  const shown = show(value)
  const give = `Give a number of ${kind.number} or a string with its unit: ${kind.examples}.`
  if (typeof value === 'number') {
    if (!Number.isFinite(value) || value < 0)
      throw argumentError(`${name}: ${shown} is not ${kind.noun}`, give)
    return value
  }
  if (typeof value !== 'string') throw argumentError(`${name}: ${shown} is not ${kind.noun}`, give)
  const match = WITH_UNIT.exec(value.trim())
  if (!match)
    throw argumentError(`${name}: ${shown} is not ${kind.noun}`, `Write it with its unit: ${kind.examples}.`)
  const [, digits = '', unit = ''] = match
  if (unit === '') {
    throw argumentError(`${name}: ${shown} has no unit`, `Did you mean ${kind.likely(Number(digits))}?`)
  }
  const factor = Object.hasOwn(kind.units, unit) ? kind.units[unit] : undefined
  if (factor === undefined) {
    throw argumentError(
      `${name}: '${unit}' is not a unit of ${kind.noun}`,
      `Units: ${Object.keys(kind.units).join(', ')}. They are case-sensitive.`,
    )
  }
  return Number(digits) * factor
}

/** `value` in milliseconds, not necessarily whole. Throws ERR_ARGUMENT, naming it `name`. */
export function parseDuration(value: Duration, name: string): number {
  return parse(value, name, KINDS.duration)
}

/** `value` in whole bytes below 2^53. Throws ERR_ARGUMENT, naming it `name`. */
export function parseSize(value: Size, name: string): number {
  const bytes = parse(value, name, KINDS.size)
  if (bytes > Number.MAX_SAFE_INTEGER) {
    throw argumentError(
      `${name}: ${show(value)} is more than 2^53 bytes`,
      'Give a size that a machine can have.',
    )
  }
  if (!Number.isInteger(bytes)) {
    throw argumentError(
      `${name}: ${show(value)} is not a whole number of bytes`,
      'Give a multiple of the page size.',
    )
  }
  return bytes
}

/** `value` in bytes per second, above 0 and below 2^53. Throws ERR_ARGUMENT, naming it `name`. */
export function parseRate(value: Rate, name: string): number {
  const rate = parse(value, name, KINDS.rate)
  if (rate === 0 || rate > Number.MAX_SAFE_INTEGER) {
    throw argumentError(
      `${name}: ${show(value)} is out of range`,
      'Give a rate above 0 and below 2^53 bytes per second.',
    )
  }
  return rate
}

/** `value` if it is a whole number of `low` to `high`. Throws ERR_ARGUMENT, naming it `name`. */
export function parseCount(
  value: number,
  name: string,
  low: number,
  high: number = Number.MAX_SAFE_INTEGER,
): number {
  if (!Number.isSafeInteger(value) || value < low || value > high) {
    const range = high === Number.MAX_SAFE_INTEGER ? `of at least ${low}` : `from ${low} to ${high}`
    throw argumentError(`${name}: ${show(value)} is out of range`, `Give a whole number ${range}.`)
  }
  return value
}

/** A count written in decimal digits, as on a command line or in a URI. Throws ERR_ARGUMENT, naming it `name`. */
export function parseCountText(text: string, name: string, low: number, high?: number): number {
  if (!/^[0-9]+$/.test(text))
    throw argumentError(
      `${name}: '${text}' is not a whole number`,
      `Give digits only, such as ${name}=${low}.`,
    )
  return parseCount(Number(text), name, low, high)
}

/** `value` if it is one of `choices`. Throws ERR_ARGUMENT that lists them. */
export function parseChoice<T extends string>(value: unknown, name: string, choices: readonly T[]): T {
  const found = choices.find(choice => choice === value)
  if (found === undefined) {
    throw argumentError(`${name}: ${show(value)} is not known`, `Known: ${choices.join(', ')}.`)
  }
  return found
}

/** A value as an error shows it, whatever it is. */
export function show(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`
  try {
    return String(value)
  } catch {
    // An object without a string to give.
    return `an ${typeof value}`
  }
}

const BINARY: readonly (readonly [string, number])[] = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
]

/** `bytes` in the largest unit that keeps it whole, in the form that {@link parseSize} reads: 1073741824 as `1GiB`. */
export function formatSize(bytes: number): string {
  const unit = BINARY.find(([, factor]) => bytes >= factor && bytes % factor === 0)
  return unit ? `${bytes / unit[1]}${unit[0]}` : `${bytes}B`
}

/** `bytesPerSecond` in the form that {@link parseRate} reads. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatSize(bytesPerSecond)}/s`
}
