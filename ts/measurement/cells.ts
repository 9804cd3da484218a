/** The cells that a measurement is asked for, and those that its blocks have. */

import { argumentError } from '../ground/errors.js'
import { formatSize, parseSize, type Size } from '../ground/units.js'
import type { CellsOfBlock, DirtyCells } from '../results/cells.js'
import { MEASURE_ITS_PROCESS } from './contents.js'
import type { MemoryLayout, Method, Source } from './source.js'

/** So many cells one measurement may have, which is about 200 kB of JSON. */
const MOST_CELLS = 65_536
/** So many cells are enough for a picture of the memory. */
const CELLS_OF_PICTURE = 16_384
/** A huge page of x86-64, and the least size of the cells of a picture. */
const LEAST_CELL_OF_PICTURE = 2 * 2 ** 20

/** How many cells of `cellBytes` the blocks have. A cell is in one block. */
function cellsIn(blockBytes: readonly number[], cellBytes: number): number {
  return blockBytes.reduce((sum, bytes) => sum + Math.ceil(bytes / cellBytes), 0)
}

/** `bytes`, doubled until the blocks have at most `most` cells of it. */
function doubledUntil(bytes: number, blockBytes: readonly number[], most: number): number {
  let cellBytes = bytes
  const least = Math.max(most, blockBytes.length)
  while (cellsIn(blockBytes, cellBytes) > least) cellBytes *= 2
  return cellBytes
}

/**
 * The size of cells for a picture of a memory that consists of such blocks: 2 MiB, doubled until
 * there are at most 16,384 cells.
 */
export function suitableCellBytes(blockBytes: readonly number[]): number {
  return doubledUntil(LEAST_CELL_OF_PICTURE, blockBytes, CELLS_OF_PICTURE)
}

/** Adds the cells to a method, if they are wanted. Throws ERR_ARGUMENT. */
export function withCells(method: Method, cells: Size | undefined, source: Source): Method {
  const cellBytes = parseCells(cells, source)
  return cellBytes === undefined ? method : { ...method, cellBytes }
}

/**
 * The size of a cell in bytes. Throws ERR_ARGUMENT if it does not suit the memory, or if nobody
 * says where the dirty pages of the target are.
 */
function parseCells(cells: Size | undefined, source: Source): number | undefined {
  if (cells === undefined) return undefined
  const layout = source.memoryLayout?.()
  if (layout === undefined) {
    throw argumentError(
      'cells: this target says how many pages are dirty, and not where they are',
      MEASURE_ITS_PROCESS,
    )
  }
  const { blockBytes, pageSize } = layout
  const isWhole = (bytes: number): boolean => bytes > 0 && bytes % pageSize === 0
  const cellBytes = parseSize(cells, 'cells', isWhole)
  if (!isWhole(cellBytes)) {
    throw argumentError(
      `cells: ${formatSize(cellBytes)} is no multiple of the page size`,
      `Give a multiple of ${formatSize(pageSize)}.`,
    )
  }
  const count = cellsIn(blockBytes, cellBytes)
  if (count > MOST_CELLS) {
    throw argumentError(
      `cells: with ${formatSize(cellBytes)} the memory has ${count} cells, and at most ${MOST_CELLS} are possible`,
      `Give ${formatSize(largerThan(cellBytes, layout))}.`,
    )
  }
  return cellBytes
}

/** The least multiple of a refused size, by a power of two, that suits the memory. */
function largerThan(cellBytes: number, { blockBytes }: MemoryLayout): number {
  return doubledUntil(cellBytes, blockBytes, MOST_CELLS)
}

/** A block whose pages are counted by cell. */
interface Block {
  readonly name: string
  readonly guestAddress?: number | undefined
  readonly bytes: number
  readonly cells?: readonly number[] | null
}

/** The member `cells` of the figures, if cells were asked for. */
export function cellsOf(
  blocks: readonly Block[],
  { cellBytes }: Pick<Method, 'cellBytes'>,
): { cells?: DirtyCells } {
  if (cellBytes === undefined) return {}
  return {
    cells: {
      cellBytes,
      blocks: blocks.map(block => cellsOfBlock(block, block.cells ?? [])),
    },
  }
}

/** The same of samples: `cells` of a block are estimates. */
export function sampledCellsOf(
  blocks: readonly (Omit<Block, 'cells'> & {
    readonly cells?: {
      readonly pages: readonly number[]
      readonly samples: readonly number[]
    } | null
  })[],
  { cellBytes }: Pick<Method, 'cellBytes'>,
): { cells?: DirtyCells } {
  if (cellBytes === undefined) return {}
  const of = ({ cells, ...block }: (typeof blocks)[number]): CellsOfBlock => ({
    ...cellsOfBlock(block, (cells?.pages ?? []).map(Math.round)),
    samples: cells?.samples ?? [],
  })
  return { cells: { cellBytes, blocks: blocks.map(of) } }
}

function cellsOfBlock(
  { name, guestAddress, bytes }: Omit<Block, 'cells'>,
  pages: readonly number[],
): CellsOfBlock {
  return {
    block: name,
    ...(guestAddress === undefined ? {} : { guestAddress }),
    bytes,
    pages,
  }
}
