/**
 * What the guest of a comparison wrote within a window, and how far a rate is off. Where nobody has
 * read the guest's counters at the very ends of the window, both are known between bounds only.
 */

import { callNative, type NativeGuestProgram } from '../../ground/native.js'

const NS_PER_SECOND = 1e9
const NS_PER_MS = 1e6
/** The same rate, computed in two ways, may differ in the last bits of a number. */
const ROUNDING = 16 * Number.EPSILON

/** Both ends of what is possible. */
export interface Bounds {
  readonly low: number
  readonly high: number
}

/** The counters of all vCPUs at some time between two moments, which performance.now() gave. */
export interface Reading {
  readonly writes: readonly number[]
  readonly askedMs: number
  readonly answeredMs: number
}

/** What the guest wrote within a window: at least `low` and at most `high` distinct pages. */
export interface GuestTruth extends Bounds {
  /** The same pages as a rate. */
  readonly bytesPerSecond: Bounds
}

/**
 * How far a rate is off, as a share of the truth: at least `low` and at most `high`. `high` is null
 * if the guest may have written nothing.
 */
export interface RateError {
  readonly low: number
  readonly high: number | null
}

/**
 * What is known of a window whose ends nobody has seen: when it was asked for, when its end was
 * known, how long it was to be, and how long it was in whole ms. Times are by performance.now().
 */
export interface UnseenWindow {
  readonly askedMs: number
  readonly knownMs: number
  readonly requestedMs: number
  readonly wholeMs: number
}

/** The readings that surely lie within a window, wherever its ends are. */
export function surelyWithin(
  readings: readonly Reading[],
  { askedMs, knownMs, requestedMs, wholeMs }: UnseenWindow,
): Reading[] {
  // Both ends were taken by a clock of whole ms. So the window may be 1 ms shorter than it says.
  const beganBy = knownMs - (wholeMs - 1)
  const endedFrom = askedMs + requestedMs - 1
  return readings.filter(one => beganBy <= one.askedMs && one.answeredMs <= endedFrom)
}

/** The bounds of a length in ns that was taken by a clock of whole ms at both of its ends. */
export function lengthOf(wholeMs: number): Bounds {
  return { low: Math.max(wholeMs - 1, 1) * NS_PER_MS, high: (wholeMs + 1) * NS_PER_MS }
}

/**
 * The pages of a window that begins after the reading `before` and ends before `after`. All
 * readings of `within` lie in the window. The guest must be one that writes.
 */
export async function pagesBetween(
  program: NativeGuestProgram,
  [before, after]: readonly [Reading, Reading],
  within: readonly Reading[],
): Promise<Bounds> {
  const written = (from: readonly number[], to: readonly number[]): Promise<number> =>
    callNative(() => program.written([...from], [...to]))
  const [first, last] = [within[0], within.at(-1)]
  // A vCPU counts a write after it has made it. So at a reading one write may be made that is not
  // counted: perhaps before the window begins, although the reading is within the window, and
  // perhaps before it ends, although the reading is after the window.
  const low =
    first === undefined || last === undefined
      ? 0
      : await written(
          first.writes.map(count => count + 1),
          last.writes.map((count, vcpu) => Math.max(count, (first.writes[vcpu] ?? count) + 1)),
        )
  const made = after.writes.map(count => count + 1)
  return { low, high: await written(before.writes, made) }
}

/** `pages` of a window that lasted this long, in ns. */
export function truthOf(pages: Bounds, pageSize: number, lasted: Bounds): GuestTruth {
  const rate = (count: number, ns: number): number => (count * pageSize) / (ns / NS_PER_SECOND)
  const bytesPerSecond = { low: rate(pages.low, lasted.high), high: rate(pages.high, lasted.low) }
  return { low: pages.low, high: pages.high, bytesPerSecond }
}

/** How far this rate is off. Null if the guest wrote nothing. */
export function errorOf(
  bytesPerSecond: number,
  { bytesPerSecond: { low, high } }: GuestTruth,
): RateError | null {
  if (high === 0) return null
  return {
    low: bytesPerSecond / high - 1,
    high: low === 0 ? null : bytesPerSecond / low - 1,
  }
}

/** The error that is certain: 0 for a rate within the truth's bounds. */
export function certainError({ low, high }: RateError): number {
  if (low > ROUNDING) return low
  return high !== null && high < -ROUNDING ? high : 0
}
