/** The warnings about a result: each has a stable code, and a sentence. */

import { type DirtyRateError, isError } from '../ground/errors.js'
import type { RepeatedCurve } from '../results/curve.js'
import type { BlockMeasurement } from '../results/measurement.js'
import type { Warning } from '../results/warning.js'
import type { Round } from './source.js'

/**
 * How far the length of a window may differ from the one that was asked for, beside the time of its
 * own sync: a tenth, or 10 ms if that is more, because a busy host may need so long to wake a
 * thread. The difference is larger if the host stood still (SIGSTOP, a frozen control group) or is
 * overloaded, or if protecting the pages of a large guest takes longer than the window.
 */
const ALLOWED_SHARE = 0.1
const ALLOWED_MS = 10

const NS_PER_MS = 1e6

/** Whether the window ended later than it may, before its sync began. */
export function isLate({ figures, lateNs }: Round): boolean {
  return lateNs / NS_PER_MS > allowedMs(figures.window.requestedMs)
}

function allowedMs(requestedMs: number): number {
  return Math.max(ALLOWED_MS, ALLOWED_SHARE * requestedMs)
}

/**
 * A `WINDOW_MISMATCH` if the window is longer or shorter than asked for by more than its own sync
 * explains.
 */
export function windowWarnings(round: Round): Warning[] {
  const { figures, explainedNs } = round
  const { window, blocks = [] } = figures
  const ms = window.ns / NS_PER_MS
  const allowed = allowedMs(window.requestedMs)
  const off = ms - window.requestedMs
  // A block that was added or removed within the window has a shorter window, which lowers the mean
  // of page sampling.
  const longest = Math.max(window.ns, ...blocks.map(({ windowNs }) => windowNs)) / NS_PER_MS
  const isAsAsked =
    !isLate(round) &&
    off <= explainedNs / NS_PER_MS + allowed &&
    longest - window.requestedMs >= -allowed
  if (isAsAsked) return []
  return [
    {
      code: 'WINDOW_MISMATCH',
      message: `the window was ${ms.toFixed(1)} ms long, and ${window.requestedMs} ms were asked for: the figures are those of the window that was had`,
    },
  ]
}

/**
 * The warning of a curve in which the windows of `skippedMs` ended only when the next longer one
 * did, `insteadMs` after the opening.
 */
export function skippedWarning(skippedMs: readonly number[], insteadMs: number): Warning {
  const windows = skippedMs.map(ms => `${ms} ms`).join(', ')
  return {
    code: 'WINDOW_MISMATCH',
    message: `there is no point for the windows ${windows}: the host stood still, or was too slow, until ${insteadMs.toFixed(1)} ms after they had opened`,
  }
}

/** The warning of a result that is right, but after which the log could not be turned off. */
export function logLeftOn(error: unknown): Warning {
  return {
    code: 'LOG_LEFT_ON',
    message: `the dirty log could not be turned off after the window, so the guest may go on paying for it: ${isError(error) ? error.message : String(error)}`,
  }
}

/** A `BLOCK_REMOVED` for each block that was removed. */
export function removalWarnings(blocks: readonly BlockMeasurement[]): Warning[] {
  return blocks
    .filter(({ removed }) => removed)
    .map(({ name, windowNs }) => ({
      code: 'BLOCK_REMOVED',
      message: `RAM block '${name}' was removed within the window: it counts by what was written in its ${(windowNs / 1e6).toFixed(1)} ms`,
    }))
}

/**
 * A `PAGES_UNJUDGED` if some of the `samples` came into memory only after the first look, so that
 * nobody knows whether they changed.
 */
export function unjudgedWarnings(unjudged: number, samples: number): Warning[] {
  if (unjudged === 0) return []
  return [
    {
      code: 'PAGES_UNJUDGED',
      message: `${unjudged} of ${samples} samples came back from swap or from the disk within the window: they may have been written, and count as unchanged`,
    },
  ]
}

/**
 * The warning of a repeated curve that ended after `rounds` whole rounds: it was aborted, or failed
 * because of `error`.
 */
export function interruptedWarning(rounds: number, error?: DirtyRateError): Warning {
  const kept = rounds === 1 ? 'the one whole round' : `the ${rounds} whole rounds`
  const why = error === undefined ? '' : ` by ${error.code} (${error.message})`
  const message = `the measurement was interrupted${why}: the figures are the means of ${kept} until then`
  if (error === undefined) return { code: 'INTERRUPTED', message }
  const { code, message: said, hint } = error
  return { code: 'INTERRUPTED', message, error: { code, message: said, hint } }
}

/**
 * A `NOT_STATIONARY` if the guest changed between the rounds of a curve, whose longest window is
 * `longestMs`: when it did, and by how much.
 */
export function changeWarning(repeated: RepeatedCurve, longestMs: number): Warning[] {
  if (repeated.stationary) return []
  const [first, ...later] = repeated.phases
  const rateOf = (phase: typeof first): number => phase?.bytesPerSecond.at(-1) ?? 0
  const changes = later.map(phase => {
    const times = rateOf(phase) / rateOf(first)
    const how = Number.isFinite(times) ? `${times.toFixed(2)} times as much as` : 'more than'
    return `from ${phase.startedAt} on ${how} in the first ${first?.rounds} rounds`
  })
  const said = changes.length === 0 ? 'the rounds differ' : changes.join(', ')
  return [
    {
      code: 'NOT_STATIONARY',
      message: `the guest changed while it was measured, so the means are of no one time: in windows of ${longestMs} ms, ${said}`,
    },
  ]
}
