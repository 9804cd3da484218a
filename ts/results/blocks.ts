/** One block's share of a measurement, and the warnings about blocks that were removed. */

import type { Interval, Warning } from './measurement.js'

/** A block's share. A block that was added within the window has a shorter one, from then on; a removed block's ends at its removal. */
export interface BlockMeasurement {
  name: string
  guestAddress: number
  bytes: number
  /** Distinct pages. */
  pages: number
  windowNs: number
  /** The block was removed within the window: it contributes the pages written before that. */
  removed?: true
  /** Mode page-sampling only: what of it was looked at, and how far `pages` may be off. */
  sampling?: { samples: number; hits: number; zeroPages: number; pages: Interval }
}

/** A `BLOCK_REMOVED` for each block that was removed. */
export function removalWarnings(blocks: readonly BlockMeasurement[]): Warning[] {
  return blocks
    .filter(({ removed }) => removed)
    .map(({ name, windowNs }) => ({
      code: 'BLOCK_REMOVED',
      message: `RAM block '${name}' was removed within the window: it counts by what was written in its ${(windowNs / 1e6).toFixed(1)} ms`,
    }))
}
