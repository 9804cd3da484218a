/** A curve whose numbers are checked, and the limits of what is read. */

import { argumentError } from '../ground/errors.js'
import type { Bounded, CurveGranularity } from '../results/curve.js'

/** Distinct pages of one window, with the bounds that the measurement gives. */
export interface InputPoint {
  readonly seconds: number
  readonly pages: number
  readonly low: number
  /** Infinity if no upper bound is known. */
  readonly high: number
  /** The confidence of the bounds; 1 if they are certain. */
  readonly confidence: number
}

/** A curve whose numbers are checked. */
export interface CurveInput {
  readonly mode: string
  readonly pageSize: number
  readonly points: readonly InputPoint[]
  /** For each region its pages of memory, and its dirty pages at each point. */
  readonly regions: readonly { readonly memoryPages: number; readonly pages: readonly number[] }[]
  readonly granularities: readonly CurveGranularity[]
  readonly memoryBytes?: number
  readonly zeroPages?: Bounded
  readonly compressedRatio?: Bounded
  readonly compressionBytesPerSecond?: number
  /** False if the guest changed while it was measured. */
  readonly stationary: boolean
  /** The mean rates of each part of the time, one per point, if there is more than one part. */
  readonly phases: readonly {
    readonly rounds: number
    readonly bytesPerSecond: readonly (number | null)[]
  }[]
  /** Whether the guest may sweep through its memory, if somebody has found out before. */
  readonly maySweep?: boolean
  /** False if the points are lower bounds. */
  readonly complete: boolean
}

export const PAGE_SIZE = 4096
/** `dirtyrate curve` measures at most 1000 windows. */
export const MOST_POINTS = 10_000
export const MOST_PAGE_SIZE: number = 2 ** 30
/** 64 PiB, as much as 56 bits of address reach. */
export const MOST_BYTES: number = 2 ** 56 / 1024
/** 100 days. */
export const LONGEST_NS: number = 100 * 86_400e9

/** Throws ERR_ARGUMENT, which calls `points` by `name`, if their windows do not become longer. */
export function refuseUnsorted(points: readonly InputPoint[], name: string): void {
  points.forEach(({ seconds }, at) => {
    const before = points[at - 1]?.seconds
    if (before !== undefined && seconds <= before) {
      throw argumentError(
        `${name}[${at}]: its window of ${seconds} s is not longer than the one before, ${before} s`,
        'Give the points in ascending order of their windows.',
      )
    }
  })
}
