/**
 * The cells of a heat map, packed: as they are sent, recorded and kept. A VM of 1 TiB has half a
 * million of them, so nobody should have the unpacked cells of a whole history.
 */

import { argumentError } from '../ground/errors.js'
import type { CellsOfBlock, DirtyCells } from '../results/cells.js'
import { type Column, packColumn, Reader, skipColumn, unpackColumn } from './column.js'

/** {@link DirtyCells}, packed. */
export interface PackedCells {
  readonly cellBytes: number
  readonly blocks: readonly PackedBlock[]
  /** For each block the column `pages`, and behind it `samples` if the block is sampled. */
  readonly data: Uint8Array
}

/** A block without its columns. Each column has as many numbers as cells begin in the block. */
export interface PackedBlock extends Omit<CellsOfBlock, 'pages' | 'samples'> {
  readonly sampled?: true
}

/** The cells of a block in typed arrays. */
export interface BlockColumns extends Omit<CellsOfBlock, 'pages' | 'samples'> {
  readonly pages: Column
  readonly samples?: Column
}

/** More cells than any map shows: 32 TiB in cells of 2 MiB. Bytes that ask for more are garbage. */
const MOST_CELLS = 2 ** 24

/** How many cells a block has. */
export function cellsIn(bytes: number, cellBytes: number): number {
  return Math.ceil(bytes / cellBytes)
}

export function packCells({ cellBytes, blocks }: DirtyCells): PackedCells {
  const columns: Uint8Array[] = []
  const packed = blocks.map(({ pages, samples, ...block }): PackedBlock => {
    const length = cellsIn(block.bytes, cellBytes)
    for (const column of samples === undefined ? [pages] : [pages, samples]) {
      if (column.length !== length)
        throw new RangeError(`${block.block} has ${length} cells and ${column.length} figures`)
      columns.push(packColumn(column))
    }
    return samples === undefined ? block : { ...block, sampled: true }
  })
  return { cellBytes, blocks: packed, data: joined(columns) }
}

/** The cells in typed arrays. Throws ERR_ARGUMENT for garbage. */
export function columnsOf({ cellBytes, blocks, data }: PackedCells): BlockColumns[] {
  const from = new Reader(data)
  return blocks.map(({ sampled, ...block }) => {
    const length = cellsIn(block.bytes, cellBytes)
    const pages = unpackColumn(from, length)
    return sampled ? { ...block, pages, samples: unpackColumn(from, length) } : { ...block, pages }
  })
}

/** Throws ERR_ARGUMENT for garbage. */
export function unpackCells(packed: PackedCells): DirtyCells {
  const blocks = columnsOf(packed).map(
    ({ pages, samples, ...block }): CellsOfBlock => ({
      ...block,
      pages: Array.from(pages),
      ...(samples === undefined ? {} : { samples: Array.from(samples) }),
    }),
  )
  return { cellBytes: packed.cellBytes, blocks }
}

/** The cells that `head` describes and `data` has. Throws ERR_ARGUMENT for garbage. */
export function checkedCells(head: unknown, data: Uint8Array): PackedCells {
  const { cellBytes, blocks } = Object(head) as Partial<PackedCells>
  if (!isSize(cellBytes) || !Array.isArray(blocks)) throw garbled()
  const from = new Reader(data)
  let cells = 0
  const checked = blocks.map((given): PackedBlock => {
    const { block, guestAddress, bytes, sampled } = Object(given) as Partial<PackedBlock>
    if (typeof block !== 'string' || !isSize(bytes)) throw garbled()
    if (guestAddress !== undefined && !isAddress(guestAddress)) throw garbled()
    if (sampled !== undefined && sampled !== true) throw garbled()
    const length = cellsIn(bytes, cellBytes)
    cells += length
    if (cells > MOST_CELLS) throw argumentError(`a measurement has more than ${MOST_CELLS} cells`)
    for (let column = 0; column < (sampled ? 2 : 1); column++) skipColumn(from, length)
    return {
      block,
      ...(guestAddress === undefined ? {} : { guestAddress }),
      bytes,
      ...(sampled === undefined ? {} : { sampled }),
    }
  })
  if (!from.isAtEnd) throw garbled()
  return { cellBytes, blocks: checked, data }
}

const isAddress = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0
const isSize = (value: unknown): value is number => isAddress(value) && value !== 0

const garbled = (): Error => argumentError('the cells of a measurement are garbled')

/** Byte arrays one after the other. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
