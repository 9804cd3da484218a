/**
 * Tables and named values that fit the width of the terminal. A table that is too wide is printed
 * with fewer columns, or else with one value per line.
 */

import { padTo, widthOf, wrap } from './text.js'

export interface Column {
  title: string
  /** The expected width of the cells. */
  width: number
  /** A row makes no sense without its essential columns. */
  essential?: true
  /** Its cells begin below each other, as names do. Others end below each other, as figures do. */
  left?: true
}

/** A cell. `paint` colours it, and must not change its width. */
export type Cell = string | { text: string; paint: (text: string) => string }

const GAP = '  '

export class Table {
  readonly #columns: readonly Column[]
  readonly #bold: (text: string) => string
  /** The titles that were printed last. */
  #titles: string | undefined

  /**
   * `columns` are in the order in which they are printed. If there is too little room, the last
   * columns that are not essential are left out first.
   */
  constructor(columns: readonly Column[], bold: (text: string) => string) {
    this.#columns = columns.map(column => ({
      ...column,
      width: Math.max(column.width, column.title.length),
    }))
    this.#bold = bold
  }

  /**
   * The lines of one row on `limit` columns, with the titles before the first row and after a
   * change of the width.
   */
  row(cells: readonly Cell[], limit: number = Number.POSITIVE_INFINITY): string[] {
    const shown = this.#fitting(limit)
    const line = this.#line(shown, cells)
    const isTable = shown.length > 0 && widthOf(this.#line(shown, cells.map(textOf))) <= limit
    const titles = isTable
      ? this.#line(
          shown,
          this.#columns.map(({ title }) => title),
        )
      : ''
    const isFirst = this.#titles === undefined
    const isSame = titles === this.#titles
    this.#titles = titles
    const gap = isFirst || (isTable && isSame) ? [] : ['']
    if (!isTable) return [...gap, ...this.#stacked(cells, limit)]
    return [...gap, ...(isSame ? [] : [this.#bold(titles)]), line]
  }

  /**
   * The titles of the columns that are left out on `limit` columns, and how wide the whole table
   * would be.
   */
  leftOut(limit: number = Number.POSITIVE_INFINITY): { titles: string[]; columns: number } {
    const shown = this.#fitting(limit)
    const titles =
      shown.length === 0
        ? []
        : this.#columns.filter((_, at) => !shown.includes(at)).map(({ title }) => title)
    const columns = this.#columns.reduce((sum, { width }) => sum + width + GAP.length, -GAP.length)
    return { titles, columns }
  }

  /** The indices of the columns that fit, in their order; none if the essential ones do not fit. */
  #fitting(limit: number): number[] {
    let left = limit + GAP.length
    const indices = [...this.#columns.keys()]
    const isEssential = (at: number): boolean => this.#columns[at]?.essential === true
    const take = (at: number): boolean => {
      const width = (this.#columns[at]?.width ?? 0) + GAP.length
      if (width > left) return false
      left -= width
      return true
    }
    const essential = indices.filter(isEssential)
    if (!essential.every(take)) return []
    const others = indices.filter(at => !isEssential(at)).filter(take)
    return [...essential, ...others].sort((a, b) => a - b)
  }

  #line(shown: readonly number[], cells: readonly Cell[]): string {
    return shown
      .map(at => {
        const cell = cells[at] ?? ''
        const text = textOf(cell)
        const { width = 0, left = false } = this.#columns[at] ?? {}
        const pad = ' '.repeat(Math.max(0, width - widthOf(text)))
        const painted = typeof cell === 'string' ? text : cell.paint(text)
        if (!left) return `${pad}${painted}`
        return at === shown.at(-1) ? painted : `${painted}${pad}`
      })
      .join(GAP)
  }

  #stacked(cells: readonly Cell[], limit: number): string[] {
    const labels = Math.max(...this.#columns.map(({ title }) => title.length)) + GAP.length
    return this.#columns.flatMap(({ title }, at) => {
      const cell = cells[at] ?? ''
      const lines = named(title, textOf(cell), labels, limit)
      return typeof cell === 'string'
        ? lines
        : lines.map(line => line.replace(cell.text, cell.paint))
    })
  }
}

/** If a value is broken into several lines, each of them has at least this many columns. */
const NARROWEST_VALUE = 20

/**
 * A name, then its value from column `indent` on. If that leaves too little room, the value goes
 * below the name.
 */
export function named(
  name: string,
  value: string,
  indent: number,
  limit: number = Number.POSITIVE_INFINITY,
): string[] {
  const room = limit - indent
  if (widthOf(value) > room && room < NARROWEST_VALUE)
    return [...wrap(name, limit), ...wrap(value, limit)]
  const [first = '', ...rest] = wrap(value, room)
  return [`${padTo(name, indent)}${first}`, ...rest.map(line => `${' '.repeat(indent)}${line}`)]
}

function textOf(cell: Cell): string {
  return typeof cell === 'string' ? cell : cell.text
}
