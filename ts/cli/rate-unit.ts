/** Rates as people read them, in the unit of `--unit`. */

import { argumentError } from '../ground/errors.js'
import { inRateUnit, parseRateUnit } from '../ground/units.js'
import type { Interval } from '../results/measurement.js'

export const DEFAULT_UNIT = 'MiB/s'

/**
 * Decimals of figures in a unit of at least this size, in bytes per second, the largest first. A
 * rate of a few MB/s has to be seen in each unit.
 */
const DECIMALS: readonly (readonly [size: number, decimals: number])[] = [
  [1e11, 6],
  [1e8, 3],
  [1.01, 1],
]

/**
 * Writes rates in one unit. All of them have the same decimals, so that figures of a column are
 * below each other.
 */
export class Rates {
  readonly unit: string
  readonly #decimals: number

  /** Throws ERR_ARGUMENT for a unit that is not known. */
  constructor(unit: string = DEFAULT_UNIT) {
    this.unit = parseRateUnit(unit, '--unit')
    const bytesPerSecond = 1 / inRateUnit(1, unit)
    this.#decimals = DECIMALS.find(([size]) => bytesPerSecond >= size)?.[1] ?? 0
  }

  /** `104857600` as `100.0 MiB/s`. */
  rate(bytesPerSecond: number): string {
    return `${this.#figure(bytesPerSecond)} ${this.unit}`
  }

  /**
   * An interval of a rate: `93.1 to 104.6 MiB/s (95 %)`. If it is certain, it has no confidence:
   * `19.0 to 20.0 MiB/s`.
   */
  interval(interval: Interval): string {
    const { low, high, confidence } = interval
    if (high === null) return `${this.rate(low)} or more`
    if (isPoint(interval)) return 'exact'
    const bounds = `${this.#figure(low)} to ${this.rate(high)}`
    return confidence === 1 ? bounds : `${bounds} (${Number((confidence * 100).toPrecision(4))} %)`
  }

  #figure(bytesPerSecond: number): string {
    return inRateUnit(bytesPerSecond, this.unit).toFixed(this.#decimals)
  }
}

/**
 * Whether the interval is one certain figure. An exact mode of QEMU counts whole MiB/s, so that its
 * interval is certain, and 1 MiB/s wide.
 */
export function isPoint({ low, high, confidence }: Interval): boolean {
  return confidence === 1 && low === high
}

/**
 * The rates of a command. `other` names another option that was given, whose output has its own
 * units. Throws ERR_ARGUMENT if both are given.
 */
export function ratesOf(unit: string | undefined, other: string | undefined): Rates {
  const rates = new Rates(unit)
  if (unit !== undefined && other !== undefined) {
    throw argumentError(`--unit: the output of ${other} has its own units`, 'Give one of the two.')
  }
  return rates
}
