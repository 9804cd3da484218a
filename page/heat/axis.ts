/** Where the address axis of a heat map has its ticks, and where blocks meet. */

import { size } from '../../ts/ground/readable.js'
import type { BlockRows } from '../state/cells.js'
import type { RowsView } from './rows.js'

export interface AddressTick {
  /** From the top, in parts of the height. */
  readonly place: number
  readonly label: string
}

export interface Seam {
  readonly place: number
  /** The bytes of the address space that are left out here; 0 if the next block follows at once. */
  readonly hole: number
  readonly label: string
}

/** In parts of the height: no label is nearer to another one. */
const NEAREST = 0.055
const MOST_TICKS = 9

/** Ticks at the beginnings of blocks, and at round addresses between them. */
export function addressTicks(view: RowsView): AddressTick[] {
  const { layout, firstCell, cells } = view
  const ticks: AddressTick[] = []
  const placeOf = (cell: number): number => (cell - firstCell) / cells
  const add = (place: number, label: string): void => {
    const isFree = ticks.every(tick => Math.abs(tick.place - place) >= NEAREST)
    if (place >= 0 && place < 1 - NEAREST / 3 && isFree) ticks.push({ place, label })
  }
  for (const block of layout.blocks) add(placeOf(block.firstCell), labelOf(block, 0))
  // What begins above the view has its first address in view at the top.
  add(0, labelAt(view, firstCell))
  const step = stepFor(cells * layout.cellBytes)
  for (const block of layout.blocks) {
    const { guestAddress = 0, bytes } = block
    const firstOffset = Math.max(0, (firstCell - block.firstCell) * layout.cellBytes)
    const first = Math.ceil((guestAddress + firstOffset) / step) * step - guestAddress
    for (let offset = first; offset < bytes; offset += step) {
      const place = placeOf(block.firstCell + offset / layout.cellBytes)
      if (place > 1) break
      add(place, labelOf(block, offset))
    }
  }
  return ticks.sort((a, b) => a.place - b.place)
}

/** Where a block follows another one. */
export function seams({ layout, firstCell, cells }: RowsView): Seam[] {
  return layout.blocks.slice(1).flatMap((block, at) => {
    const before = layout.blocks[at]
    const place = (block.firstCell - firstCell) / cells
    if (before === undefined || place <= 0 || place >= 1) return []
    const isKnown = before.guestAddress !== undefined && block.guestAddress !== undefined
    const end = (before.guestAddress ?? 0) + before.bytes
    const hole = isKnown ? Math.max((block.guestAddress ?? 0) - end, 0) : 0
    const label =
      hole > 0
        ? `${size(hole)} without memory are left out before ${block.block}`
        : `${block.block} begins`
    return [{ place, hole, label }]
  })
}

/** The smallest power of two that gives no more ticks than there is room for. */
function stepFor(bytes: number): number {
  return 2 ** Math.ceil(Math.log2(bytes / MOST_TICKS))
}

function labelOf({ block, guestAddress }: BlockRows, offset: number): string {
  return guestAddress === undefined
    ? offset === 0
      ? block
      : `+ ${rounded(offset)}`
    : rounded(guestAddress + offset)
}

function labelAt({ layout }: RowsView, cell: number): string {
  const block = layout.blocks.findLast(({ firstCell }) => firstCell <= cell)
  return block === undefined ? '' : labelOf(block, (cell - block.firstCell) * layout.cellBytes)
}

/** An address of few digits in a binary unit, and any other one in hexadecimal. */
function rounded(bytes: number): string {
  if (bytes === 0) return '0'
  const shown = size(bytes)
  const [figure = '', unit = ''] = shown.split(' ')
  const power = ['B', 'KiB', 'MiB', 'GiB', 'TiB'].indexOf(unit)
  return Number(figure) * 1024 ** power === bytes ? shown : `0x${bytes.toString(16)}`
}
