/** Round times for an axis. */

import { clock } from '../format.js'
import type { TimeRange } from '../state/time-range.js'

const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600]
/** The room for a label, in pixels. */
const ROOM = 72

export interface TimeTick {
  readonly at: number
  /** From the left, in parts of the width. */
  readonly place: number
  readonly label: string
}

export function timeTicks({ from, to }: TimeRange, width: number): TimeTick[] {
  const most = Math.max(Math.floor(width / ROOM), 1)
  const step =
    STEPS_S.map(seconds => seconds * 1000).find(ms => (to - from) / ms <= most) ?? 86_400_000
  // Round in the time of this place.
  const shift = new Date(from).getTimezoneOffset() * 60_000
  const ticks: TimeTick[] = []
  for (let at = Math.ceil((from - shift) / step) * step + shift; at <= to; at += step) {
    const place = (at - from) / (to - from)
    if (place > 0.02 && place < 0.98) ticks.push({ at, place, label: clock(at, step < 1000) })
  }
  return ticks
}
