/** The mode 'dirty-bitmap': what a window over KVM's dirty bitmap says. The way there is in five-steps.ts. */

import { rateOfPages } from '../../qapi/arithmetic.js'
import { type BlockMeasurement, removalWarnings } from '../../results/blocks.js'
import type { Figures } from '../../results/measurement.js'
import type { ExactRound } from './five-steps.js'

/** A page is in the log exactly if it was written: all figures are exact. */
export function bitmapFigures(
  { requestedMs, lateNs, explainedNs, reap, cost }: ExactRound,
  pageSize: number,
): Figures {
  const { bytesPerSecond, pages, windowNs, pausedNs } = reap
  const blocks = reap.blocks.map(
    ({ name, guestAddress, bytes, pages, windowNs, removed }): BlockMeasurement => ({
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
    window: { requestedMs, ns: windowNs, skewNs: reap.skewNs },
    lateNs,
    explainedNs,
    bytesPerSecond,
    interval: { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 },
    pages,
    blocks,
    cost,
    complete: true,
    warnings: removalWarnings(blocks),
    qapi: { 'sample-pages': 0, 'dirty-rate': rateOfPages(pages, pageSize, windowNs - pausedNs) },
    ...(reap.truth ? { truth: reap.truth } : {}),
  }
}
