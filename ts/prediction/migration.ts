/** Predicts a live migration from a curve: whether it ends, when, and what would make it end. */

import { byChunks } from './chunks.js'
import type { CurveInput } from './curve-input.js'
import { type Decision, decisionOf } from './decision.js'
import type { Figure, Verdict } from './figure.js'
import { figuresOf, type MigrationFigures, type Setting } from './figures.js'
import { type PredictionCurve, parseCurve } from './input.js'
import { leastBandwidth, leastDowntime, verdictOf } from './limits.js'
import { modelOf } from './model.js'
import { type MigrationOptions, parseMigrationOptions, type Wanted } from './options.js'
import type { PublishedCurve } from './published-curve.js'
import { Scenarios } from './scenarios.js'
import { maySweep } from './sweeping.js'
import { type WayOut, waysOutOf } from './ways-out.js'

/** A part of the time in which the guest was alike, and what a migration would do in it. */
export interface PredictedPhase {
  /** How many rounds of the measurement it has. */
  readonly rounds: number
  /** Its part of all rounds, from 0 to 1. */
  readonly share: number
  readonly verdict: Verdict
}

/** What a migration will do. */
export interface MigrationPrediction extends MigrationFigures {
  readonly verdict: Verdict
  /** The name of the profile. */
  readonly profile: string
  readonly bandwidthBytesPerSecond: number
  /** The downtime that is allowed; null if it is not limited. */
  readonly downtimeLimitMs: number | null
  /** The smallest downtime with which the migration would end at this bandwidth. */
  readonly leastDowntimeMs: Figure
  /** The smallest bandwidth with which the migration would end within this downtime. */
  readonly leastBandwidthBytesPerSecond: Figure
  /** What makes a migration end that does not end surely. Empty if it does. */
  readonly waysOut: readonly WayOut[]
  /** If the verdict is `uncertain`: the measurement that would decide. */
  readonly decision?: Decision
  /** Whether the curve has the regions in which pages are protected again. */
  readonly regions: boolean
  /** Present if the guest changed while it was measured. */
  readonly phases?: readonly PredictedPhase[]
}

/**
 * Predicts the live migration of a VM whose dirty pages grow as `curve` says. It is a pure
 * function: nothing is measured, and no VM is needed. Throws ERR_ARGUMENT for a curve or an option
 * that cannot be used.
 *
 * @example
 * ```ts
 * import { predictMigration } from 'dirtyrate/prediction'
 *
 * const curve = {
 *   points: [0.1, 1, 10].map(seconds => {
 *     const bytesPerSecond = 100e6 / seconds ** 0.5
 *     const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
 *     return { windowNs: seconds * 1e9, bytesPerSecond, interval }
 *   }),
 *   memory: { bytes: 4 * 2 ** 30 },
 * }
 * const { verdict } = predictMigration(curve, { bandwidth: '10Gbit/s', downtime: '300ms' })
 * console.log(verdict) // converges
 * ```
 */
export function predictMigration(
  curve: PredictionCurve | PublishedCurve,
  options: MigrationOptions,
): MigrationPrediction {
  return predict(parseCurve(curve), parseMigrationOptions(options))
}

/** The same, of a curve and options that are checked already. */
export function predict(input: CurveInput, wanted: Wanted): MigrationPrediction {
  const scenarios = scenariosOf(input, wanted)
  const { bytesPerSecond, downtime, profile } = wanted
  const phases = phasesOf(input, wanted, [wanted]).map(
    ({ rounds, share, verdicts: [verdict = 'uncertain'] }): PredictedPhase => ({
      rounds,
      share,
      verdict,
    }),
  )
  const verdict = verdictWith(
    scenarios,
    wanted,
    phases.map(phase => phase.verdict),
  )
  const decision = verdict === 'uncertain' ? decisionOf(scenarios, input) : undefined
  const least = {
    leastDowntimeMs: leastDowntime(scenarios, bytesPerSecond),
    leastBandwidthBytesPerSecond: leastBandwidth(scenarios, downtime),
  }
  return {
    verdict,
    profile: profile.name,
    bandwidthBytesPerSecond: bytesPerSecond,
    downtimeLimitMs: Number.isFinite(downtime) ? downtime * 1000 : null,
    ...figuresOf(scenarios, verdict),
    ...least,
    waysOut: verdict === 'converges' ? [] : waysOutOf(scenarios, input, least),
    ...(decision === undefined ? {} : { decision }),
    regions: scenarios.model.hasRegions,
    ...(phases.length === 0 ? {} : { phases }),
  }
}

/** The verdict alone, and how long it takes. */
export function predictBriefly(
  input: CurveInput,
  wanted: Wanted,
): Pick<MigrationPrediction, 'verdict' | 'totalMs'> {
  const scenarios = scenariosOf(input, wanted)
  const verdict = verdictIn(scenarios, input, wanted)
  return { verdict, totalMs: figuresOf(scenarios, verdict).totalMs }
}

/** What may come of a migration of the VM that has this curve. */
export function scenariosOf(input: CurveInput, wanted: Wanted): Scenarios {
  const { clearing, curve } = wanted.profile
  const asMeasured = curve === 'as-measured'
  const chunked = clearing === 'pass-start' ? input : byChunks(input, clearing.chunkBytes)
  const model = modelOf(chunked, wanted.memoryBytes, asMeasured)
  return new Scenarios(model, wanted, !asMeasured && maySweep(input))
}

/**
 * The verdict in a setting that may be another one than that of `scenarios`, which were made of
 * `input`.
 */
export function verdictIn(scenarios: Scenarios, input: CurveInput, setting: Setting): Verdict {
  const phases = phasesOf(input, scenarios.wanted, [setting])
  return verdictWith(
    scenarios,
    setting,
    phases.flatMap(({ verdicts }) => verdicts),
  )
}

/** The verdict in each of these settings. */
export function verdictsIn(
  scenarios: Scenarios,
  input: CurveInput,
  settings: readonly Setting[],
): Verdict[] {
  const phases = phasesOf(input, scenarios.wanted, settings)
  return settings.map((setting, at) =>
    verdictWith(
      scenarios,
      setting,
      phases.flatMap(({ verdicts }) => verdicts[at] ?? []),
    ),
  )
}

/** What holds for the whole time: the common verdict of all phases, if they have one. */
function verdictWith(
  scenarios: Scenarios,
  { bytesPerSecond, downtime }: Setting,
  ofPhases: readonly Verdict[],
): Verdict {
  const verdict = verdictOf(scenarios, bytesPerSecond, downtime)
  return ofPhases.every(one => one === verdict) ? verdict : 'uncertain'
}

/** The phases of a guest that changed while it was measured, with the verdict in each setting. */
function phasesOf(
  input: CurveInput,
  wanted: Wanted,
  settings: readonly Setting[],
): { rounds: number; share: number; verdicts: Verdict[] }[] {
  if (input.stationary || input.phases.length < 2) return []
  const all = input.phases.reduce((sum, { rounds }) => sum + rounds, 0)
  return input.phases.map(({ rounds, bytesPerSecond }) => {
    const points = input.points.map((point, at) => {
      const rate = bytesPerSecond[at] ?? null
      // A window that the phase does not have is that of all phases.
      if (rate === null) return point
      const pages = (rate * point.seconds) / input.pageSize
      const part = point.pages > 0 ? pages / point.pages : 0
      return { ...point, pages, low: point.low * part, high: point.high * part }
    })
    const phase = { ...input, points, regions: [], stationary: true, phases: [] }
    const scenarios = scenariosOf(phase, wanted)
    const verdicts = settings.map(({ bytesPerSecond: rate, downtime }) =>
      verdictOf(scenarios, rate, downtime),
    )
    return { rounds, share: rounds / all, verdicts }
  })
}
