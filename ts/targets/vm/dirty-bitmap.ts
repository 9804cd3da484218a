/**
 * The mode 'dirty-bitmap': makes the figures of a window from KVM's dirty bitmap. The calls that
 * measure are in five-steps.ts.
 */

import { removalWarnings } from '../../measurement/warnings.js'
import type { PlacedBlock } from '../page-sampling.js'
import type { BitmapFigures } from './figures.js'
import type { ExactRound } from './five-steps.js'

/** A page is in the log if and only if it was written, so all figures are exact. */
export function bitmapFigures(
  { requestedMs, reap, cost }: ExactRound,
  pageSize: number,
): BitmapFigures {
  const { bytesPerSecond, pages, windowNs, pausedNs } = reap
  const blocks = reap.blocks.map(
    ({ name, guestAddress, bytes, pages, windowNs, removed }): PlacedBlock => ({
      name,
      guestAddress,
      bytes,
      pages,
      windowNs,
      ...(removed ? { removed } : {}),
    }),
  )
  return {
    mode: 'dirty-bitmap',
    window: {
      requestedMs,
      ns: windowNs,
      skewNs: reap.skewNs,
      ...(pausedNs > 0 ? { pausedNs } : {}),
    },
    bytesPerSecond,
    interval: { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 },
    pages,
    pageSize,
    blocks,
    cost,
    complete: true,
    warnings: removalWarnings(blocks),
    ...(reap.truth ? { truth: reap.truth } : {}),
  }
}
