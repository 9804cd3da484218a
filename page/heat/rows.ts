/** The cells of a window in the rows of pixels of a heat map. */

import { type CellColumn, type Layout, pagesOf, UNKNOWN } from '../state/cells.js'
import { levelOf, type Scale } from './scale.js'

/** The cells that are in view, in a number of rows of pixels. */
export interface RowsView {
  readonly layout: Layout
  readonly firstCell: number
  readonly cells: number
  readonly rows: number
}

/** The figures of one column: one for each row of pixels. */
export interface RowFigures {
  /**
   * The dirty pages of the row's hottest cell, so that no hot cell vanishes among clean ones;
   * {@link UNKNOWN} if nothing is known of any of its cells.
   */
  readonly pages: Float64Array
  /** The least and the most dirty pages of the cells that have any; 0 if none has. */
  readonly least: number
  readonly most: number
}

/** The cells of a row of pixels: at least one. */
export function cellsOfRow(
  { firstCell, cells, rows }: Omit<RowsView, 'layout'>,
  row: number,
): { from: number; to: number } {
  const from = firstCell + Math.floor((row * cells) / rows)
  const to = firstCell + Math.ceil(((row + 1) * cells) / rows)
  return cells >= rows ? { from, to: Math.max(to, from + 1) } : { from, to: from + 1 }
}

/** The row of pixels in the middle of a cell. */
export function rowOfCell(
  { firstCell, cells, rows }: Omit<RowsView, 'layout'>,
  cell: number,
): number {
  return Math.floor(((cell - firstCell + 0.5) * rows) / cells)
}

export function rowFigures(column: CellColumn, view: RowsView): RowFigures {
  const pages = pagesOf(column)
  const rows = new Float64Array(view.rows)
  let least = 0
  let most = 0
  for (let row = 0; row < view.rows; row++) {
    const { from, to } = cellsOfRow(view, row)
    let hottest = UNKNOWN
    for (let cell = from; cell < to; cell++) {
      const count = pages[cell] ?? UNKNOWN
      if (count > hottest) hottest = count
    }
    rows[row] = hottest
    if (hottest > most) most = hottest
    if (hottest > 0 && (least === 0 || hottest < least)) least = hottest
  }
  return { pages: rows, least, most }
}

const levelsKnown = new WeakMap<RowFigures, { scale: Scale; levels: Int16Array }>()

/** The level of each row, {@link UNKNOWN} where nothing is known. */
export function levelsOf(
  figures: RowFigures | undefined,
  seconds: number,
  scale: Scale,
): Int16Array | undefined {
  if (figures === undefined) return undefined
  const known = levelsKnown.get(figures)
  if (known?.scale.low === scale.low && known.scale.high === scale.high) return known.levels
  const levels = Int16Array.from(figures.pages, pages =>
    pages === UNKNOWN ? UNKNOWN : levelOf(pages / seconds, scale),
  )
  levelsKnown.set(figures, { scale, levels })
  return levels
}

/** Remembers the figures of the columns for as long as the view is the same. */
export class RowCache {
  #view: RowsView | undefined
  #figures = new WeakMap<CellColumn, RowFigures>()

  /** Undefined if the memory was another one in that window. */
  figures(column: CellColumn, view: RowsView): RowFigures | undefined {
    if (column.layout !== view.layout) return undefined
    if (!isSame(this.#view, view)) {
      this.#view = view
      this.#figures = new WeakMap()
    }
    const known = this.#figures.get(column)
    if (known !== undefined) return known
    const made = rowFigures(column, view)
    this.#figures.set(column, made)
    return made
  }
}

const isSame = (one: RowsView | undefined, other: RowsView): boolean =>
  one !== undefined &&
  one.layout === other.layout &&
  one.firstCell === other.firstCell &&
  one.cells === other.cells &&
  one.rows === other.rows
