/** Which part of the time the charts show: the newest minutes, or any part of the history. */

import { useMemo, useState } from 'preact/hooks'
import { clock } from '../format.js'
import type { Vm } from '../state/state.js'
import type { TimeRange } from '../state/time-range.js'

const MINUTE = 60_000
const SPANS = [
  { label: '1 min', ms: MINUTE },
  { label: '5 min', ms: 5 * MINUTE },
  { label: '30 min', ms: 30 * MINUTE },
  { label: 'all', ms: Number.POSITIVE_INFINITY },
] as const
/** Nothing shorter is shown. */
const SHORTEST_MS = 200

export interface TimeView {
  readonly range: TimeRange
  readonly span: number
  /** Whether the charts go on with the time. */
  readonly follows: boolean
  readonly setSpan: (ms: number) => void
  /** Shows this part, and stays there. */
  readonly choose: (range: TimeRange) => void
  readonly move: (parts: number) => void
  readonly follow: () => void
  readonly first: number
}

export function useTimeView(vm: Vm, now: number, isLive: boolean): TimeView {
  const [span, setSpan] = useState<number>(isLive ? 5 * MINUTE : Number.POSITIVE_INFINITY)
  const [chosen, setChosen] = useState<TimeRange | undefined>()
  const oldest = vm.moments.at(0)
  const first =
    oldest === undefined ? now - MINUTE : oldest.kind === 'gap' ? oldest.at : oldest.from
  const from = chosen?.from ?? Math.max(now - span, Math.min(first, now - 1000))
  const to = chosen?.to ?? now
  const range = useMemo(() => ({ from, to }), [from, to])
  return {
    range,
    span: chosen === undefined ? span : chosen.to - chosen.from,
    follows: chosen === undefined,
    first,
    setSpan: ms => {
      setSpan(ms)
      setChosen(undefined)
    },
    choose: wanted => {
      const short = SHORTEST_MS - (wanted.to - wanted.from)
      const more = Math.max(short, 0) / 2
      setChosen({ from: wanted.from - more, to: wanted.to + more })
    },
    move: parts => {
      const ms = to - from
      const begin = Math.max(Math.min(from + parts * ms, now - ms), Math.min(first, now - ms))
      if (begin + ms >= now && parts > 0) setChosen(undefined)
      else setChosen({ from: begin, to: begin + ms })
    },
    follow: () => setChosen(undefined),
  }
}

export function TimeControls({ view, isLive }: { view: TimeView; isLive: boolean }) {
  const { range, span, follows, setSpan, move, follow, first } = view
  return (
    <div class="time" role="group" aria-label="Time that is shown">
      <span class="quiet time-range">
        {clock(range.from)} to {clock(range.to)}
      </span>
      <div class="buttons">
        <button
          type="button"
          onClick={() => move(-0.5)}
          disabled={range.from <= first}
          aria-label="Earlier"
        >
          ‹
        </button>
        {SPANS.map(({ label, ms }) => (
          <button
            type="button"
            key={label}
            aria-pressed={follows && span === ms}
            onClick={() => setSpan(ms)}
          >
            {label}
          </button>
        ))}
        <button type="button" onClick={() => move(0.5)} disabled={follows} aria-label="Later">
          ›
        </button>
      </div>
      {!follows && (
        <button type="button" class="primary" onClick={follow}>
          {isLive ? 'Follow' : 'Whole recording'}
        </button>
      )}
    </div>
  )
}
