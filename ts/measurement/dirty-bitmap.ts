/** The mode 'dirty-bitmap': what a window over KVM's dirty bitmap says. The way there is in five-steps.ts. */

import { rateOfPages } from '../qapi/arithmetic.js'
import type { ExactRound } from './five-steps.js'
import type { Figures } from './result.js'

/** A page is in the log exactly if it was written: all figures are exact. */
export function bitmapFigures({ requestedMs, reap, cost }: ExactRound, pageSize: number): Figures {
  const { bytesPerSecond, pages, windowNs } = reap
  return {
    mode: 'dirty-bitmap',
    window: { requestedMs, ns: windowNs, skewNs: reap.skewNs },
    bytesPerSecond,
    interval: { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 },
    pages,
    blocks: reap.blocks.map(({ name, guestAddress, bytes, pages, windowNs }) => ({
      name,
      guestAddress,
      bytes,
      pages,
      windowNs,
    })),
    cost,
    complete: true,
    warnings: [],
    qapi: { 'sample-pages': 0, 'dirty-rate': rateOfPages(pages, pageSize, windowNs) },
    ...(reap.truth ? { truth: reap.truth } : {}),
  }
}
