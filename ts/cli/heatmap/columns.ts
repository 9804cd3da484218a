/** The columns of a heat map: each shows some cells of one RAM block. */

import type { CellsOfBlock, DirtyCells } from '../../results/cells.js'

/** Some cells of one block, one after the other. */
export interface Column {
  /** What tells the block apart from others, also if its name has been used before. */
  readonly key: string
  readonly block: string
  readonly guestAddress: number | undefined
  /** Its first byte, from the start of the block on, and how many it has. */
  readonly offset: number
  readonly bytes: number
  readonly firstCell: number
  readonly cells: number
}

export interface Columns {
  /** In the order of addresses; undefined for the hole between two blocks. */
  readonly all: readonly (Column | undefined)[]
  readonly cellBytes: number
  /** How much memory a column shows. The last one of a block may show less. */
  readonly columnBytes: number
  /** Blocks that have no column, because the terminal is too narrow: the smallest ones. */
  readonly hidden: number
}

const keyOf = ({ block, guestAddress }: CellsOfBlock): string => `${guestAddress ?? ''} ${block}`

/** The columns for a memory, at most `room` of them. */
export function columnsOf({ cellBytes, blocks }: DirtyCells, room: number): Columns {
  // Between two blocks is a hole, which has a column.
  const most = Math.max(1, Math.floor((room + 1) / 2))
  const shown = new Set([...blocks].sort((a, b) => b.bytes - a.bytes).slice(0, most))
  const placed = blocks
    .filter(block => shown.has(block))
    .sort((a, b) => (a.guestAddress ?? 0) - (b.guestAddress ?? 0))
  const left = room - (placed.length - 1)
  const cells = leastCells(placed, left)
  return {
    all: placed.flatMap((block, at) => [
      ...(at === 0 ? [] : [undefined]),
      ...columnsOfBlock(block, cellBytes, cells),
    ]),
    cellBytes,
    columnBytes: cells * cellBytes,
    hidden: blocks.length - placed.length,
  }
}

/** The least number of cells in each column with which the blocks have at most `room` columns. */
function leastCells(blocks: readonly CellsOfBlock[], room: number): number {
  const columns = (cells: number): number =>
    blocks.reduce((sum, { pages }) => sum + Math.ceil(pages.length / cells), 0)
  const all = columns(1)
  let cells = Math.max(1, Math.ceil(all / room))
  while (columns(cells) > Math.max(room, blocks.length)) cells++
  return cells
}

function columnsOfBlock(of: CellsOfBlock, cellBytes: number, cells: number): Column[] {
  const { block, guestAddress, bytes, pages } = of
  return Array.from({ length: Math.ceil(pages.length / cells) }, (_, number): Column => {
    const firstCell = number * cells
    const offset = firstCell * cellBytes
    return {
      key: keyOf(of),
      block,
      guestAddress,
      offset,
      bytes: Math.min(cells * cellBytes, bytes - offset),
      firstCell,
      cells: Math.min(cells, pages.length - firstCell),
    }
  })
}

/**
 * The dirty pages of each column in a window; undefined where nothing is known: in a hole, in a
 * block that was not there, and where no page was sampled.
 */
export function pagesOf({ all }: Columns, { blocks }: DirtyCells): (number | undefined)[] {
  const byKey = new Map(blocks.map(block => [keyOf(block), block]))
  return all.map(column => {
    const block = column && byKey.get(column.key)
    if (column === undefined || block === undefined) return undefined
    const { firstCell, cells } = column
    const pages = block.pages.slice(firstCell, firstCell + cells)
    const sum = pages.reduce((all, one) => all + one, 0)
    if (block.samples === undefined) return sum
    // The cells that were not sampled are taken to be as those that were.
    const samples = block.samples.slice(firstCell, firstCell + cells)
    const known = samples.filter(count => count > 0).length
    return known === 0 ? undefined : (sum * cells) / known
  })
}
