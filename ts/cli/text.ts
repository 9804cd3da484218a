/** Figures as people read them. */

import type { Interval } from '../measurement/result.js'

/** `1234567` as `1,234,567`. */
export function count(value: number): string {
  return value.toLocaleString('en-US')
}

/** ns as ms, to the precision that matters at its size. */
export function ms(ns: number): string {
  const value = ns / 1e6
  return `${value >= 100 ? value.toFixed(1) : value >= 1 ? value.toFixed(2) : value.toFixed(3)} ms`
}

export function mibPerSecond(bytesPerSecond: number): string {
  return `${(bytesPerSecond / 2 ** 20).toFixed(1)} MiB/s`
}

/** Bytes in the largest binary unit, to one decimal where it is not whole. */
export function size(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`
}

/** Cells under each other, figures to the right. */
export function row(cells: readonly string[], widths: readonly number[]): string {
  return cells
    .map((cell, i) => cell.padStart(widths[i] ?? 0))
    .join('  ')
    .trimEnd()
}

/** An interval of a rate: `93.1 to 104.6 MiB/s (95 %)`. */
export function rateInterval({ low, high, confidence }: Interval): string {
  const mib = (value: number): string => (value / 2 ** 20).toFixed(1)
  if (high === null) return `${mib(low)} MiB/s or more`
  if (confidence === 1) return 'exact'
  return `${mib(low)} to ${mib(high)} MiB/s (${Number((confidence * 100).toPrecision(4))} %)`
}

/** `fraction` of `width` as a bar, to an eighth of a character. */
export function bar(fraction: number, width: number): string {
  const eighths = Math.round(Math.min(Math.max(fraction, 0), 1) * width * 8)
  return '█'.repeat(Math.floor(eighths / 8)) + (' ▏▎▍▌▋▊▉'[eighths % 8] ?? '').trim()
}
