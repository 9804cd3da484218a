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

export interface Range {
  readonly low: number
  readonly high: number
}

/** The room beyond the first and the last point, as a factor. */
const ROOM = 1.35
/** The line of the link is cut where it is so far above all points that these would be flat. */
const MOST_ABOVE = 16

/**
 * What the axes show. Both are above 0, as logarithms need it, also if the guest writes nothing.
 */
export function rangesOf(
  dots: readonly CurveDot[],
  bytesPerSecond: number,
): { times: Range; bytes: Range } {
  const [first, last] = [dots[0]?.seconds ?? 1, dots.at(-1)?.seconds ?? 1]
  const link = bytesPerSecond * first
  const seen = dots
    .flatMap(({ bytes, low, high }) => [bytes, low, high])
    .filter(value => value > 0 && Number.isFinite(value))
  const most = seen.length === 0 ? link : Math.max(...seen)
  return {
    times: { low: first / ROOM, high: last * ROOM },
    bytes: {
      low: Math.min(...seen, link) / ROOM,
      high: Math.max(most, Math.min(bytesPerSecond * last, MOST_ABOVE * most)) * ROOM,
    },
  }
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
