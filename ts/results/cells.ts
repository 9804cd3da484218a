/** Where in the guest's memory the dirty pages of one window are. */

/** The memory in cells of one size, as a heat map shows it. */
export interface DirtyCells {
  /** The size of a cell: a multiple of the page size. */
  readonly cellBytes: number
  readonly blocks: readonly CellsOfBlock[]
}

/**
 * The cells of one RAM block, counted from the start of the block. The last cell of a block may be
 * smaller than the others.
 */
export interface CellsOfBlock {
  /** The name of the RAM block. */
  readonly block: string
  /** Where the guest sees its first byte. Absent where nobody outside of the VM knows. */
  readonly guestAddress?: number
  readonly bytes: number
  /** The dirty pages of each cell: distinct pages, or in mode page-sampling an estimate. */
  readonly pages: readonly number[]
  /**
   * In mode page-sampling only: how many pages of each cell were sampled. Nothing is known about a
   * cell without samples.
   */
  readonly samples?: readonly number[]
}
