/** Where a rate goes, from its newest windows. */

import type { Log } from './log.js'
import type { MeasuredWindow, Moment } from './state.js'

export type Direction = 'rising' | 'falling' | 'steady' | 'unknown'

export interface Trend {
  readonly direction: Direction
  /** By which part the newest third is above the oldest one: 0.25 for a quarter more. */
  readonly change: number
}

/** So many windows make a trend, and at least so many. */
const WINDOWS = 30
const FEWEST = 6
/** A smaller change is none. */
const STEADY = 0.1

/** The newest windows since the last gap, the oldest first. */
export function newestWindows(moments: Log<Moment>, most: number = WINDOWS): MeasuredWindow[] {
  const found: MeasuredWindow[] = []
  for (let back = 1; back <= most; back++) {
    const moment = moments.at(-back)
    if (moment?.kind !== 'measured') break
    found.push(moment)
  }
  return found.reverse()
}

export function trendOf(moments: Log<Moment>): Trend {
  const windows = newestWindows(moments)
  if (windows.length < FEWEST) return { direction: 'unknown', change: 0 }
  const third = Math.floor(windows.length / 3)
  const before = mean(windows.slice(0, third))
  const now = mean(windows.slice(-third))
  if (before === 0)
    return now === 0
      ? { direction: 'steady', change: 0 }
      : { direction: 'rising', change: Number.POSITIVE_INFINITY }
  const change = now / before - 1
  const direction = change > STEADY ? 'rising' : change < -STEADY ? 'falling' : 'steady'
  return { direction, change }
}

const mean = (windows: readonly MeasuredWindow[]): number =>
  windows.reduce((sum, { bytesPerSecond }) => sum + bytesPerSecond, 0) / windows.length
