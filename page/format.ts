/** Figures as this page writes them: as the command does. */

import { measuredSize, size, visible } from '../ts/ground/readable.js'
import { duration } from '../ts/prediction/words.js'
import type { Interval } from '../ts/results/measurement.js'

export { count, measuredSize, size } from '../ts/ground/readable.js'
export { bandwidth, duration, figure, sentence, wayFigures } from '../ts/prediction/words.js'

export const rate = (bytesPerSecond: number): string => `${measuredSize(bytesPerSecond)}/s`

/** A rate in two parts, so that the figure can be larger than its unit. */
export function rateParts(bytesPerSecond: number): { figure: string; unit: string } {
  const [figure = '', unit = ''] = rate(bytesPerSecond).split(' ')
  return { figure, unit }
}

/** `93.1 MiB/s to 104.6 MiB/s (95 %)`. */
export function intervalText({ low, high, confidence }: Interval): string {
  if (high === null) return `${rate(low)} or more`
  if (confidence === 1 && low === high) return 'exact'
  const bounds = `${rate(low)} to ${rate(high)}`
  return confidence === 1 ? bounds : `${bounds} (${Number((confidence * 100).toPrecision(4))} %)`
}

/** Pages per second, with as many digits as are read at one look. */
export function pagesPerSecond(value: number): string {
  if (value === 0) return '0'
  if (value >= 1000) return Math.round(value).toLocaleString('en-US')
  return String(Number(value.toPrecision(3)))
}

const pad = (value: number, digits = 2): string => String(value).padStart(digits, '0')

/** The time of day. Tenths of a second are shown where windows are that short. */
export function clock(at: number, tenths = false): string {
  const date = new Date(at)
  const seconds = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`
  return tenths ? `${seconds}.${Math.floor(date.getMilliseconds() / 100)}` : seconds
}

/** How long ago something was, or how long something takes. */
export function ago(ms: number): string {
  if (ms < 1500) return 'now'
  if (ms < 90_000) return `${Math.round(ms / 1000)} s ago`
  if (ms < 5_400_000) return `${Math.round(ms / 60_000)} min ago`
  return `${Number((ms / 3_600_000).toFixed(1))} h ago`
}

/** A name from a VM: control characters are shown, and those that turn the text around too. */
export function safe(text: string): string {
  return visible(text).replace(
    /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    character => `\\u${character.charCodeAt(0).toString(16)}`,
  )
}

/** `1 TiB`, `4 GiB`. */
export const memory = (bytes: number): string => size(bytes)

export const windowText = (ns: number): string => duration(ns / 1e6)
