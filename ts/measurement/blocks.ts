/** One block's share of a measurement, and what is said of blocks that went away. */

import type { Interval, Warning } from './result.js'

/** A block's share. A block that came within the window has one of its own, from then on; one that went, until then. */
export interface BlockMeasurement {
  name: string
  guestAddress: number
  bytes: number
  /** Distinct pages. */
  pages: number
  windowNs: number
  /** It went away within the window: it counts by what was written before. */
  removed?: true
  /** Mode page-sampling only: what of it was looked at, and how far `pages` may be off. */
  sampling?: { samples: number; hits: number; zeroPages: number; pages: Interval }
}

/** A `BLOCK_REMOVED` for each block that went away. */
export function removalWarnings(blocks: readonly BlockMeasurement[]): Warning[] {
  return blocks
    .filter(({ removed }) => removed)
    .map(({ name, windowNs }) => ({
      code: 'BLOCK_REMOVED',
      message: `RAM block '${name}' was removed within the window: it counts by what was written in its ${(windowNs / 1e6).toFixed(1)} ms`,
    }))
}
