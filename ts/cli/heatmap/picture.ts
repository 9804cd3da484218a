/** The heat map as lines: its axes, a row for each window, the legend, and the hottest regions. */

import { formatSize } from '../../ground/units.js'
import type { ColorDepth } from '../terminal.js'
import { count, size, visible } from '../text.js'
import type { Column, Columns } from './columns.js'
import { pagesOf } from './columns.js'
import { CLEAN, placeOn, rateAt, rowOf, type Scale, swatch, UNKNOWN } from './scale.js'
import type { Step } from './step.js'

/** `12:34:56 ` before each row. */
export const LABEL_COLUMNS = 9
const HOLE = '|'
/** So many regions are listed. */
const MOST_REGIONS = 5

/** What the columns and rows are, and the addresses above the map. */
export function axes(columns: Columns): string[] {
  const { all, columnBytes, hidden } = columns
  const holes = all.includes(undefined) ? `; ${HOLE} is a hole` : ''
  const rest = hidden === 0 ? '' : `; ${count(hidden)} smaller blocks are not shown`
  return [
    `${'time'.padEnd(LABEL_COLUMNS)}guest address, ${size(columnBytes)} in a column${holes}${rest}`,
    `${'(UTC)'.padEnd(LABEL_COLUMNS)}${ticks(all)}`,
  ]
}

/** An address at the beginning of each block, and at some columns between, where there is room. */
function ticks(all: Columns['all']): string {
  let line = ''
  for (const [at, column] of all.entries()) {
    const previous = all[at - 1]
    const begins = previous === undefined || previous.key !== column?.key
    if (column === undefined || at < line.length + (line === '' ? 0 : 1)) continue
    if (!begins && at % 16 !== 0) continue
    const text = `'${tickOf(column)}`
    if (at + text.length <= all.length || line === '') line = line.padEnd(at) + text
  }
  return line
}

const addressText = (address: number): string => {
  const text = formatSize(address)
  return text.length <= 8 ? text : `0x${address.toString(16)}`
}

/** An address as people read it, from the start of its block on if nobody knows more. */
export function addressOf({ guestAddress, block }: Column, offset: number): string {
  if (guestAddress === undefined) return `${visible(block)}+${formatSize(offset)}`
  return addressText(guestAddress + offset)
}

/** About where a column begins. */
function tickOf(column: Column): string {
  const { guestAddress, offset } = column
  if (guestAddress === undefined) return addressOf(column, offset)
  return size(guestAddress + offset).replace(' ', '')
}

/** The row of a window. */
export function row(columns: Columns, scale: Scale, step: Step, depth: ColorDepth): string {
  const pages = pagesOf(columns, step.cells)
  const places = columns.all.map((column, at) => {
    if (column === undefined) return HOLE
    const found = pages[at]
    if (found === undefined) return UNKNOWN
    return placeOn(scale, found / step.seconds) ?? CLEAN
  })
  return `${step.time.padEnd(LABEL_COLUMNS)}${rowOf(places, depth)}`
}

/** The scale from faint to hot: `. 1  : 12  …  @ 16,384 pages/s in a column`. */
export function legend(scale: Scale, depth: ColorDepth, width: number): string {
  const line = (marks: number, ending: string): { text: string; columns: number } => {
    const places = Array.from({ length: marks }, (_, at) => at / (marks - 1))
    const rates = places.map(place => rateText(rateAt(scale, place)))
    const texts = places.map((place, at) => `${swatch(place, depth)} ${rates[at]}`)
    // A swatch has one column, however long its sequences are.
    const columns = rates.reduce((sum, rate) => sum + rate.length + 4, 'blank 0'.length)
    return { text: `blank 0  ${texts.join('  ')}${ending}`, columns: columns + ending.length }
  }
  const endings = [' pages/s in a column, log scale', ' pages/s, log scale', ' pages/s']
  const lines = endings.flatMap(ending => [6, 4, 3, 2].map(marks => line(marks, ending)))
  return lines.find(({ columns }) => columns <= width)?.text ?? ''
}

function rateText(rate: number): string {
  return rate >= 10 ? count(Math.round(rate)) : String(Number(rate.toPrecision(2)))
}

/** A part of the memory in which all columns are about equally hot. */
interface Region {
  readonly first: Column
  bytes: number
  /** Pages per second. */
  rate: number
  readonly level: number
}

/** Each column's pages per second, over the windows that know something about it. */
function meanRates(columns: Columns, steps: readonly Step[]): number[] {
  const sums = columns.all.map(() => ({ pages: 0, seconds: 0 }))
  for (const { cells, seconds } of steps)
    for (const [at, pages] of pagesOf(columns, cells).entries()) {
      const sum = sums[at]
      if (sum === undefined || pages === undefined) continue
      sum.pages += pages
      sum.seconds += seconds
    }
  return sums.map(({ pages, seconds }) => (pages === 0 ? 0 : pages / seconds))
}

/** The regions that were dirtied most in all of these windows, the hottest first. */
export function hottest(columns: Columns, scale: Scale, steps: readonly Step[]): string[] {
  const rates = meanRates(columns, steps)
  const total = rates.reduce((all, one) => all + one, 0)
  if (total === 0) return ['Nothing was dirty.']
  const regions: Region[] = []
  let last: Region | undefined
  for (const [at, column] of columns.all.entries()) {
    const rate = rates[at] ?? 0
    const place = placeOn(scale, rate)
    if (column === undefined || place === undefined) {
      last = undefined
      continue
    }
    const level = Math.round(place * 10)
    if (last?.first.key === column.key && last.level === level) {
      last.bytes += column.bytes
      last.rate += rate
    } else {
      last = { first: column, bytes: column.bytes, rate, level }
      regions.push(last)
    }
  }
  const lines = regions
    .sort((a, b) => b.rate - a.rate)
    .slice(0, MOST_REGIONS)
    .map(({ first, bytes, rate }) => [
      addressOf(first, first.offset),
      addressOf(first, first.offset + bytes),
      size(bytes),
      rateText(rate),
      `${((rate / total) * 100).toFixed(0)} %`,
    ])
  const titles = ['hottest, from', 'to', 'size', 'pages/s', 'of all']
  const widths = titles.map((title, at) =>
    Math.max(title.length, ...lines.map(cells => cells[at]?.length ?? 0)),
  )
  return [titles, ...lines].map(cells =>
    cells.map((cell, at) => cell.padStart(widths[at] ?? 0)).join('  '),
  )
}
