/** The points of a curve as bytes, and where the line of a link crosses them. */

import type { DirtyRateCurve } from '../../ts/results/curve.js'

export interface CurveDot {
  readonly seconds: number
  readonly requestedMs: number
  /** Distinct bytes that were dirtied in a window of this length. */
  readonly bytes: number
  readonly low: number
  /** Infinity if no upper bound is known. */
  readonly high: number
  readonly bytesPerSecond: number
}

export function dotsOf({ points }: DirtyRateCurve): CurveDot[] {
  return points.map(({ windowNs, requestedMs, dirtyBytes, bytesPerSecond, interval }) => {
    const seconds = windowNs / 1e9
    return {
      seconds,
      requestedMs,
      bytes: dirtyBytes ?? bytesPerSecond * seconds,
      low: interval.low * seconds,
      high: (interval.high ?? Number.POSITIVE_INFINITY) * seconds,
      bytesPerSecond,
    }
  })
}

/** Which one is ahead: in a window of t the guest dirties more than the link carries, or less. */
export type Ahead = 'guest' | 'link' | 'changes'

export interface Crossing {
  readonly ahead: Ahead
  /** If it changes: in longer windows the link carries more than the guest dirties. */
  readonly seconds?: number
}

/** Where the line of the link crosses the curve, between its points as the chart draws them. */
export function crossingOf(dots: readonly CurveDot[], bytesPerSecond: number): Crossing {
  const isLinkAhead = ({ seconds, bytes }: CurveDot): boolean => bytesPerSecond * seconds >= bytes
  const at = dots.findIndex(isLinkAhead)
  if (at === 0) return { ahead: 'link' }
  const [before, after] = [dots[at - 1], dots[at]]
  if (at < 0 || before === undefined || after === undefined) return { ahead: 'guest' }
  // Both are straight lines in logarithms, and the link's has the slope 1.
  const room = ({ seconds, bytes }: CurveDot): number =>
    Math.log(bytes / (bytesPerSecond * seconds))
  const part = room(before) / (room(before) - room(after))
  const seconds = before.seconds * (after.seconds / before.seconds) ** part
  return { ahead: 'changes', seconds }
}
