/** The scale of a heat map, and how its values are shown: in colours, or by characters. */

import type { ColorDepth } from '../terminal.js'

/**
 * A logarithmic scale, so that a page and a whole column of pages are seen at once. It does not
 * change while the map runs: from one page in a window to all pages of a column.
 */
export interface Scale {
  /** Pages per second. */
  readonly low: number
  readonly high: number
}

export function scaleOf(columnPages: number, windowSeconds: number): Scale {
  return { low: 1 / windowSeconds, high: Math.max(columnPages, 2) / windowSeconds }
}

/** Where a rate lies on the scale, from 0 to 1; undefined if nothing is dirty. */
export function placeOn({ low, high }: Scale, rate: number): number | undefined {
  if (rate <= 0) return undefined
  return Math.min(Math.max(Math.log(rate / low) / Math.log(high / low), 0), 1)
}

/** The rate at a place of the scale. */
export function rateAt({ low, high }: Scale, place: number): number {
  return low * (high / low) ** place
}

/** The characters from faint to hot, where nothing can be shown in colour. */
const CHARACTERS = '.:-=+*oO#%@'
/** Dark to light, so that the order is seen also by eyes that see few colours. */
const STOPS: readonly (readonly [number, number, number])[] = [
  [58, 15, 110],
  [106, 23, 110],
  [147, 38, 103],
  [188, 55, 84],
  [221, 81, 58],
  [243, 120, 25],
  [252, 165, 10],
  [246, 215, 70],
  [252, 255, 164],
]
/** The same of the 256 colours that terminals have. */
const OF_256: readonly number[] = [54, 90, 126, 162, 197, 203, 208, 214, 220, 229]
const RESET = '\x1b[0m'

/** What stands for a value whose place on the scale is known. */
export function swatch(place: number, depth: ColorDepth): string {
  if (depth === 'ascii') return CHARACTERS[step(place, CHARACTERS.length)] ?? ''
  const color =
    depth === '256' ? `5;${OF_256[step(place, OF_256.length)]}` : `2;${mixed(place).join(';')}`
  return `\x1b[48;${color}m \x1b[0m`
}

/** Nothing is dirty. */
export const CLEAN = ' '
/** No page was sampled there. */
export const UNKNOWN = '?'

/** The columns of one row, with one sequence for each run of one colour. */
export function rowOf(places: readonly (number | string)[], depth: ColorDepth): string {
  if (depth === 'ascii')
    return places.map(one => (typeof one === 'string' ? one : swatch(one, depth))).join('')
  let row = ''
  let style = ''
  for (const one of places) {
    const wanted = typeof one === 'string' ? '' : swatch(one, depth).slice(0, -RESET.length - 1)
    if (wanted !== style) row += wanted === '' ? RESET : wanted
    style = wanted
    row += typeof one === 'string' ? one : ' '
  }
  return style === '' ? row : row + RESET
}

function step(place: number, steps: number): number {
  return Math.min(Math.floor(place * steps), steps - 1)
}

function mixed(place: number): number[] {
  const at = place * (STOPS.length - 1)
  const below = STOPS[Math.floor(at)] ?? [0, 0, 0]
  const above = STOPS[Math.ceil(at)] ?? below
  return below.map((value, part) =>
    Math.round(value + ((above[part] ?? value) - value) * (at - Math.floor(at))),
  )
}
