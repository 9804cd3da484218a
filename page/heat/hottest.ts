/** The hottest cells of some windows. */

import {
  addressText,
  type CellColumn,
  type CellPlace,
  pagesOf,
  placeOf,
  UNKNOWN,
} from '../state/cells.js'

export interface HotCell {
  readonly cell: number
  readonly place: CellPlace
  readonly address: string
  /** The mean over the windows that know the cell: page sampling knows others in each window. */
  readonly pagesPerSecond: number
  /** Its part of what all cells have, from 0 to 1. */
  readonly share: number
}

/** The cells with the most dirty pages, by their mean over `columns`, which have one layout. */
export function hottestCells(columns: readonly CellColumn[], most: number): HotCell[] {
  const layout = columns.at(-1)?.layout
  if (layout === undefined) return []
  const alike = columns.filter(column => column.layout === layout)
  const sums = new Float64Array(layout.cells)
  const seconds = new Float64Array(layout.cells)
  for (const column of alike) {
    const pages = pagesOf(column)
    for (let cell = 0; cell < pages.length; cell++) {
      const count = pages[cell] ?? UNKNOWN
      if (count === UNKNOWN) continue
      sums[cell] = (sums[cell] ?? 0) + count
      seconds[cell] = (seconds[cell] ?? 0) + column.seconds
    }
  }
  const rates = sums.map((sum, cell) => (sum === 0 ? 0 : sum / (seconds[cell] ?? 1)))
  const all = rates.reduce((total, rate) => total + rate, 0)
  return largest(rates, most).flatMap(cell => {
    const place = placeOf(layout, cell)
    const pagesPerSecond = rates[cell] ?? 0
    if (place === undefined) return []
    return [
      { cell, place, address: addressText(place), pagesPerSecond, share: pagesPerSecond / all },
    ]
  })
}

/** The indices of the largest numbers above 0, the largest first. */
function largest(numbers: Float64Array, most: number): number[] {
  const kept: number[] = []
  for (let at = 0; at < numbers.length; at++) {
    const value = numbers[at] ?? 0
    if (value <= 0) continue
    if (kept.length === most && value <= (numbers[kept.at(-1) ?? 0] ?? 0)) continue
    const place = kept.findIndex(one => value > (numbers[one] ?? 0))
    kept.splice(place < 0 ? kept.length : place, 0, at)
    if (kept.length > most) kept.pop()
  }
  return kept
}
