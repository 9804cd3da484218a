/** How far apart the windows of a VM usually end, and when a figure is an old one. */

import type { Log } from './log.js'
import type { Moment, Vm } from './state.js'

/** A window that comes after more than so many times the usual distance is behind a gap. */
export const GAP_FACTOR = 2.5
/** How many distances say what is usual. */
const USUAL = 5
/** The server says what time it is at least this often. */
const ALIVE_MS = 15_000
/** Nobody calls a figure of more than a minute ago one of now, however rarely a VM is measured. */
const NOW_MS = 60_000

/** In ms, by the newest windows without a gap between them; undefined before the second one. */
export function usualDistance(moments: Log<Moment>): number | undefined {
  const distances: number[] = []
  for (let back = 1; back <= USUAL; back++) {
    const [later, earlier] = [moments.at(-back), moments.at(-back - 1)]
    if (later?.kind !== 'measured' || earlier?.kind !== 'measured') break
    distances.push(later.at - earlier.at)
  }
  return distances.sort((a, b) => a - b)[distances.length >> 1]
}

/**
 * `overdue` if the next window should have come long ago, and `now` if the newest window tells how
 * the VM is. `now` is the time of the server.
 */
export function ageOf({ last, moments }: Vm, now: number): 'now' | 'earlier' | 'overdue' {
  if (last === undefined) return 'earlier'
  const age = now - last.at
  const distance = usualDistance(moments)
  if (distance !== undefined && age > Math.max(GAP_FACTOR * distance, ALIVE_MS)) return 'overdue'
  return age <= NOW_MS ? 'now' : 'earlier'
}
