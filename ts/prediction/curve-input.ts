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

/** A region of memory, in the order of the guest's memory. */
export interface InputRegion {
  /** The RAM block that it is in. */
  readonly block: string
  readonly memoryPages: number
  /** Its dirty pages at each point. */
  readonly pages: readonly number[]
}

/** A curve whose numbers are checked. */
export interface CurveInput {
  readonly mode: string
  readonly pageSize: number
  readonly points: readonly InputPoint[]
  readonly regions: readonly InputRegion[]
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
/** 1 PiB of memory. */
export const MOST_BYTES: number = 2 ** 50
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
