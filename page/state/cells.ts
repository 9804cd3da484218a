/** The cells of one window as the page keeps them: one column of a heat map, packed as it came. */

import { cellsIn, columnsOf, type PackedCells } from '../../ts/dashboard/packed-cells.js'

/** One RAM block in the order in which the heat map shows it. */
export interface BlockRows {
  readonly block: string
  readonly guestAddress?: number
  readonly bytes: number
  /** The number of its first cell among the cells of all blocks. */
  readonly firstCell: number
  readonly cells: number
  /** Its place among the blocks of the event. */
  readonly place: number
}

/** How the memory is cut into cells. Windows share it for as long as the memory does not change. */
export interface Layout {
  readonly cellBytes: number
  readonly cells: number
  readonly blocks: readonly BlockRows[]
}

export interface CellColumn {
  /** When the window ended, and from when on a chart shows it: ms since the Epoch. */
  readonly at: number
  readonly from: number
  /** How long the guest ran in the window. */
  readonly seconds: number
  readonly complete: boolean
  readonly layout: Layout
  readonly packed: PackedCells
}

/** What stands for a cell about which nothing is known. */
export const UNKNOWN = -1

/** The dirty pages of each cell, in the order of the layout; {@link UNKNOWN} where not known. */
export function pagesOf({ layout, packed }: CellColumn): Float64Array {
  const pages = new Float64Array(layout.cells)
  const columns = columnsOf(packed)
  for (const { place, firstCell } of layout.blocks) {
    const block = columns[place]
    if (block === undefined) continue
    pages.set(block.pages, firstCell)
    block.samples?.forEach((samples, cell) => {
      if (samples === 0) pages[firstCell + cell] = UNKNOWN
    })
  }
  return pages
}

/** The layout of `cells`: `before` itself if the memory is as it was. */
export function layoutOf({ cellBytes, blocks }: PackedCells, before: Layout | undefined): Layout {
  if (before !== undefined && isSame(before, cellBytes, blocks)) return before
  const address = (place: number): number => blocks[place]?.guestAddress ?? Number.MAX_SAFE_INTEGER
  // Blocks with an address in its order, then the others as they were given.
  const order = blocks.map((_, place) => place).sort((a, b) => address(a) - address(b) || a - b)
  let firstCell = 0
  const rows: BlockRows[] = []
  for (const place of order) {
    const given = blocks[place]
    if (given === undefined) continue
    const { block, guestAddress, bytes } = given
    const cells = cellsIn(bytes, cellBytes)
    const at = guestAddress === undefined ? {} : { guestAddress }
    rows.push({ block, ...at, bytes, firstCell, cells, place })
    firstCell += cells
  }
  return { cellBytes, cells: firstCell, blocks: rows }
}

function isSame(layout: Layout, cellBytes: number, blocks: PackedCells['blocks']): boolean {
  return (
    layout.cellBytes === cellBytes &&
    layout.blocks.length === blocks.length &&
    layout.blocks.every(({ place, block, guestAddress, bytes }) => {
      const given = blocks[place]
      return given?.block === block && given.guestAddress === guestAddress && given.bytes === bytes
    })
  )
}

/** Where a cell is. */
export interface CellPlace {
  readonly block: BlockRows
  /** From the start of the block, in bytes. */
  readonly offset: number
  /** The last cell of a block may be smaller. */
  readonly bytes: number
}

export function placeOf({ blocks, cellBytes }: Layout, cell: number): CellPlace | undefined {
  const block = blocks.findLast(({ firstCell }) => firstCell <= cell)
  if (block === undefined || cell < 0 || cell >= block.firstCell + block.cells) return undefined
  const offset = (cell - block.firstCell) * cellBytes
  return { block, offset, bytes: Math.min(cellBytes, block.bytes - offset) }
}

/** The cell with this number of its block's bytes in front of it. */
export const cellAt = ({ cellBytes }: Layout, { firstCell }: BlockRows, offset: number): number =>
  firstCell + Math.floor(offset / cellBytes)

/** The guest address of a place as people read it; without one its offset in the block. */
export function addressText({ block, offset }: Pick<CellPlace, 'block' | 'offset'>): string {
  const { guestAddress } = block
  return guestAddress === undefined
    ? `${block.block} + 0x${offset.toString(16)}`
    : `0x${(guestAddress + offset).toString(16)}`
}
