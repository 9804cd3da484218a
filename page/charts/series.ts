/** The windows of a VM as the columns that a chart takes. */

import type { Log } from '../state/log.js'
import type { GapReason, MeasuredWindow, Moment } from '../state/state.js'
import type { TimeRange } from '../state/time-range.js'

/** A part of the time without figures. */
export interface GapRange extends TimeRange {
  readonly why: GapReason | 'between'
  readonly text: string
}

export interface Series {
  /** In seconds since the Epoch. A figure stands from the instant before it until its own. */
  readonly times: readonly number[]
  /** One column for each figure that was asked for; null where there is none. */
  readonly columns: readonly (readonly (number | null)[])[]
  readonly windows: readonly MeasuredWindow[]
  readonly gaps: readonly GapRange[]
}

/** The windows that are in view, with a column for each of `figures`. */
export function seriesOf(
  moments: Log<Moment>,
  { from, to }: TimeRange,
  figures: readonly ((window: MeasuredWindow) => number)[],
): Series {
  const times: number[] = []
  const columns: (number | null)[][] = figures.map(() => [])
  const windows: MeasuredWindow[] = []
  const gaps: GapRange[] = []
  const add = (ms: number, window: MeasuredWindow | undefined): void => {
    times.push(ms / 1000)
    figures.forEach((figure, at) => {
      columns[at]?.push(window === undefined ? null : figure(window))
    })
  }
  let gap: { from: number; why: GapRange['why']; text: string } | undefined
  let end: number | undefined
  const first = Math.max(moments.firstWhere(({ at }) => at >= from) - 1, 0)
  for (let at = first; at < moments.length; at++) {
    const moment = moments.at(at)
    if (moment === undefined || (moment.kind === 'measured' ? moment.from : moment.at) > to) break
    if (moment.kind === 'gap') {
      gap ??= { from: moment.at, why: moment.why, text: moment.text }
      continue
    }
    if (moment.from !== end) {
      if (end !== undefined) add((end + moment.from) / 2, undefined)
      if (gap !== undefined) gaps.push({ ...gap, to: Math.max(moment.from, gap.from) })
      else if (end !== undefined)
        gaps.push({ from: end, to: moment.from, why: 'between', text: 'Not measured.' })
      add(moment.from, moment)
    }
    gap = undefined
    add(moment.at, moment)
    windows.push(moment)
    end = moment.at
  }
  if (gap !== undefined) gaps.push({ ...gap, to })
  return { times, columns, windows, gaps }
}
