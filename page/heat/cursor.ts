/** Where the cursor of a heat map goes by a key, and what it says. */

import { count, measuredSize, pagesPerSecond, rate, windowText } from '../format.js'
import { addressText, type CellColumn, pagesOf, placeOf, UNKNOWN } from '../state/cells.js'
import type { RowsView } from './rows.js'
import { cellsOfRow } from './rows.js'

/** A cell of a window. */
export interface Cursor {
  readonly column: CellColumn
  readonly cell: number
}

const FAR = 16

/** The cursor after a key; undefined if the key means nothing here. */
export function moved(
  { column, cell }: Cursor,
  key: string,
  columns: readonly CellColumn[],
  view: RowsView,
): Cursor | undefined {
  const at = columns.indexOf(column)
  // A key moves by what can be seen: by a cell, or by a row of pixels that has several cells.
  const step = Math.max(Math.round(view.cells / view.rows), 1)
  const toCell = (wanted: number): Cursor => ({
    column,
    cell: Math.min(Math.max(wanted, 0), view.layout.cells - 1),
  })
  const toColumn = (wanted: number): Cursor => ({
    column: columns[Math.min(Math.max(wanted, 0), columns.length - 1)] ?? column,
    cell,
  })
  switch (key) {
    case 'ArrowUp':
      return toCell(cell - step)
    case 'ArrowDown':
      return toCell(cell + step)
    case 'PageUp':
      return toCell(cell - FAR * step)
    case 'PageDown':
      return toCell(cell + FAR * step)
    case 'ArrowLeft':
      return toColumn(at - 1)
    case 'ArrowRight':
      return toColumn(at + 1)
    case 'Home':
      return toColumn(0)
    case 'End':
      return toColumn(columns.length - 1)
    default:
      return undefined
  }
}

/** The hottest cell of a row of pixels: the one whose colour the row has. */
export function hottestOfRow(column: CellColumn, view: RowsView, row: number): number {
  const { from, to } = cellsOfRow(view, row)
  const pages = pagesOf(column)
  let hottest = from
  for (let cell = from; cell < to; cell++)
    if ((pages[cell] ?? UNKNOWN) > (pages[hottest] ?? UNKNOWN)) hottest = cell
  return hottest
}

/** The figures of the cell under the cursor. */
export interface CursorFigures {
  readonly address: string
  readonly block: string
  readonly bytes: string
  readonly figures: string
}

export function figuresAt({ column, cell }: Cursor, pageSize: number): CursorFigures | undefined {
  const place = placeOf(column.layout, cell)
  if (place === undefined) return undefined
  const pages = pagesOf(column)[cell] ?? UNKNOWN
  const time = windowText(column.seconds * 1e9)
  const perSecond = pages / column.seconds
  const figures =
    pages === UNKNOWN
      ? 'no page of it was sampled'
      : `${count(Number(pages.toFixed(1)))} pages in ${time}: ${pagesPerSecond(perSecond)} pages/s, ${rate(perSecond * pageSize)}`
  return {
    address: addressText(place),
    block: place.block.block,
    bytes: measuredSize(place.bytes),
    figures,
  }
}
