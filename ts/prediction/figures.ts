/** The figures of a migration: how many passes it takes, how much it sends, and for how long. */

import { type Figure, figureOf, type Verdict } from './figure.js'
import type { Wanted } from './options.js'
import type { Played } from './precopy.js'
import type { Scenarios } from './scenarios.js'

/** The figures of a migration. */
export interface MigrationFigures {
  /** Passes over the memory, with the one that the guest stands still for. */
  readonly passes: Figure
  /** What goes over the link. */
  readonly bytes: Figure
  /** From the beginning until the guest runs at the destination. */
  readonly totalMs: Figure
  /** How long the guest stands still. */
  readonly downtimeMs: Figure
}

const NEVER: Figure = { value: null, low: null, high: null }

/** A link, and how long the guest may stand still. */
export type Setting = Pick<Wanted, 'bytesPerSecond' | 'downtime'>

/** The figures of a migration that ends; null for one that does not. */
export function figuresOf(
  scenarios: Scenarios,
  verdict: Verdict,
  setting: Setting = scenarios.wanted,
): MigrationFigures {
  if (verdict === 'stalls')
    return { passes: NEVER, bytes: NEVER, totalMs: NEVER, downtimeMs: NEVER }
  const { wanted, pageBytes, zeroBytes } = scenarios
  const { bytesPerSecond, downtime } = setting
  const { deviceState, linkBytesPerSecond = bytesPerSecond } = wanted
  const { value, others, leastSeconds } = scenarios.play(bytesPerSecond, downtime)
  const ended = others.filter(({ converged }) => converged)
  const figure = (of: (played: Played) => number, low?: number): Figure => {
    const never = Number.POSITIVE_INFINITY
    return figureOf(
      value.converged ? of(value) : never,
      [
        ...ended.map(of),
        ...(ended.length < others.length || verdict === 'uncertain' ? [never] : []),
      ],
      low,
    )
  }
  const down = ({ lastPages, lastZeros }: Pick<Played, 'lastPages' | 'lastZeros'>): number =>
    scenarios.stoppedSeconds(lastPages, lastZeros, linkBytesPerSecond)
  const rounded = (ms: number): number => {
    const { roundsUpToMs } = wanted.profile
    return roundsUpToMs === 0 ? ms : Math.ceil(ms / roundsUpToMs) * roundsUpToMs
  }
  const isExact = wanted.profile.curve === 'as-measured'
  const downtimeMs = figure(played => down(played) * 1000)
  return {
    passes: figure(({ passes }) => passes + 1),
    bytes: figure(({ sentPages, lastPages }) => (sentPages + lastPages) * pageBytes + zeroBytes),
    totalMs: figure(
      played => rounded((played.seconds + down(played)) * 1000),
      leastSeconds === undefined ? undefined : leastSeconds * 1000,
    ),
    downtimeMs: isExact ? downtimeMs : widened(downtimeMs),
  }

  /** The last look may find anything from nothing to the threshold. */
  function widened({ value: ms, low, high }: Figure): Figure {
    const played = [value, ...ended]
    const threshold = scenarios.threshold(bytesPerSecond, downtime)
    const { high: filled } = scenarios.model.filledPages
    const most = down({
      lastPages: Math.max(
        Math.min(threshold, filled),
        ...played.map(({ lastPages }) => Math.min(lastPages, threshold)),
      ),
      lastZeros: Math.max(...played.map(({ lastZeros }) => lastZeros)),
    })
    // The guest is stopped at once if all of its memory fits.
    const isStoppedAtOnce = [value, ...others].every(({ passes }) => passes === 0)
    return {
      value: ms,
      low: isStoppedAtOnce ? low : deviceState * 1000,
      high: ms === null ? high : Math.max(most * 1000, ms),
    }
  }
}
