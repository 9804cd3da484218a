/**
 * Pages per second as one of 256 levels. The scale is logarithmic, from one power of ten to
 * another, so that a cell with one page and a cell with thousands are both seen.
 */

/** Both ends are powers of ten, in pages per second. */
export interface Scale {
  readonly low: number
  readonly high: number
}

/** The level of a cell without dirty pages. The levels of all others begin at 1. */
export const CLEAN = 0
export const TOP = 255

/** One page in a window of 1.05 s is as good as one in 1 s: a tenth of a power of ten. */
const SLACK = 0.1

/** The scale for rates from `least`, which is above 0, to `most`. */
export function scaleFor(least: number, most: number): Scale {
  const low = 10 ** Math.floor(Math.log10(least) + SLACK)
  const high = 10 ** Math.ceil(Math.log10(most) - SLACK)
  return high > low ? { low, high } : { low, high: low * 10 }
}

/** A scale for a window without any dirty page. */
export const EMPTY_SCALE: Scale = { low: 1, high: 1000 }

export function levelOf(pagesPerSecond: number, { low, high }: Scale): number {
  if (!(pagesPerSecond > 0)) return CLEAN
  const part = Math.log(pagesPerSecond / low) / Math.log(high / low)
  return 1 + Math.round(Math.min(Math.max(part, 0), 1) * (TOP - 1))
}

/** The powers of ten on the scale, with their places from 0 to 1. */
export function ticksOf({ low, high }: Scale): { rate: number; place: number }[] {
  const decades = Math.round(Math.log10(high / low))
  return Array.from({ length: decades + 1 }, (_, at) => ({
    rate: low * 10 ** at,
    place: at / decades,
  }))
}
