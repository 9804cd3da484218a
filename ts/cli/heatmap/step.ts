/** One window of a heat map. */

import type { DirtyRateMeasurement } from '../../qapi/info.js'
import type { DirtyCells } from '../../results/cells.js'
import { runningNs } from '../../results/running-time.js'

export interface Step {
  /** When it ended, as `12:34:56`. */
  readonly time: string
  /** The part of the window in which the guest ran. */
  readonly seconds: number
  readonly cells: DirtyCells
  readonly pageSize: number
}

export function stepOf({ cells, startedAt, window, pageSize }: DirtyRateMeasurement): Step {
  if (cells === undefined || pageSize === undefined)
    throw new RangeError('a measurement that was asked for cells has none')
  const ended = new Date(Date.parse(startedAt) + window.ns / 1e6)
  return {
    time: ended.toISOString().slice(11, 19),
    seconds: runningNs(window.ns, window.pausedNs) / 1e9,
    cells,
    pageSize,
  }
}
