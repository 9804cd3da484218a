/** Predicts a live migration from a curve: whether it ends, when, and what would make it end. */

import { type Decision, decisionOf } from './decision.js'
import { type Figure, figureOf, type Verdict } from './figure.js'
import { type CurveInput, type PredictionCurve, type PublishedCurve, parseCurve } from './input.js'
import { leastBandwidth, leastDowntime, verdictOf } from './limits.js'
import { modelOf } from './model.js'
import { type MigrationOptions, parseMigrationOptions, type Wanted } from './options.js'
import type { Played } from './precopy.js'
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
export interface MigrationPrediction {
  readonly verdict: Verdict
  /** The name of the profile. */
  readonly profile: string
  readonly bandwidthBytesPerSecond: number
  /** The downtime that is allowed; null if it is not limited. */
  readonly downtimeLimitMs: number | null
  /** Passes over the memory, with the one that the guest stands still for. */
  readonly passes: Figure
  /** What goes over the link. */
  readonly bytes: Figure
  /** From the beginning until the guest runs at the destination. */
  readonly totalMs: Figure
  /** How long the guest stands still. */
  readonly downtimeMs: Figure
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

const NEVER: Figure = { value: null, low: null, high: null }

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
  const phases = phasesOf(input, wanted)
  const verdict = overall(verdictOf(scenarios, bytesPerSecond, downtime), phases)
  const decision = verdict === 'uncertain' ? decisionOf(scenarios, input) : undefined
  return {
    verdict,
    profile: profile.name,
    bandwidthBytesPerSecond: bytesPerSecond,
    downtimeLimitMs: Number.isFinite(downtime) ? downtime * 1000 : null,
    ...figuresOf(scenarios, verdict),
    leastDowntimeMs: leastDowntime(scenarios, bytesPerSecond),
    leastBandwidthBytesPerSecond: leastBandwidth(scenarios, downtime),
    waysOut: verdict === 'converges' ? [] : waysOutOf(scenarios, input),
    ...(decision === undefined ? {} : { decision }),
    regions: scenarios.model.hasRegions,
    ...(phases.length === 0 ? {} : { phases }),
  }
}

/** The verdict alone, and how long it takes: for a table of many bandwidths and downtimes. */
export function predictBriefly(
  input: CurveInput,
  wanted: Wanted,
): Pick<MigrationPrediction, 'verdict' | 'totalMs'> {
  const scenarios = scenariosOf(input, wanted)
  const verdict = overall(
    verdictOf(scenarios, wanted.bytesPerSecond, wanted.downtime),
    phasesOf(input, wanted),
  )
  return { verdict, totalMs: figuresOf(scenarios, verdict).totalMs }
}

function scenariosOf(input: CurveInput, wanted: Wanted): Scenarios {
  const asMeasured = wanted.profile.curve === 'as-measured'
  const model = modelOf(input, wanted.memoryBytes, asMeasured)
  return new Scenarios(model, wanted, !asMeasured && maySweep(input))
}

/** What holds for the whole time: the common verdict of all phases, if they have one. */
function overall(verdict: Verdict, phases: readonly PredictedPhase[]): Verdict {
  const [first = verdict, ...rest] = new Set(phases.map(phase => phase.verdict))
  return phases.length === 0 || (rest.length === 0 && first === verdict) ? verdict : 'uncertain'
}

function phasesOf(input: CurveInput, wanted: Wanted): PredictedPhase[] {
  if (input.stationary || input.phases.length < 2) return []
  const all = input.phases.reduce((sum, { rounds }) => sum + rounds, 0)
  return input.phases.map(({ rounds, bytesPerSecond }) => {
    const points = input.points.map((point, at) => {
      const pages = ((bytesPerSecond[at] ?? 0) * point.seconds) / input.pageSize
      const part = point.pages > 0 ? pages / point.pages : 0
      return { ...point, pages, low: point.low * part, high: point.high * part }
    })
    const phase = { ...input, points, regions: [], stationary: true, phases: [] }
    const verdict = verdictOf(scenariosOf(phase, wanted), wanted.bytesPerSecond, wanted.downtime)
    return { rounds, share: rounds / all, verdict }
  })
}

/** The figures of a migration that ends; null for one that does not. */
function figuresOf(
  scenarios: Scenarios,
  verdict: Verdict,
): Pick<MigrationPrediction, 'passes' | 'bytes' | 'totalMs' | 'downtimeMs'> {
  if (verdict === 'stalls')
    return { passes: NEVER, bytes: NEVER, totalMs: NEVER, downtimeMs: NEVER }
  const { wanted, pageBytes, zeroBytes } = scenarios
  const { bytesPerSecond, downtime, deviceState, linkBytesPerSecond = bytesPerSecond } = wanted
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
  const down = ({ lastPages, lastZeros }: Played): number =>
    (lastPages * pageBytes + lastZeros * wanted.profile.zeroPageBytes) / linkBytesPerSecond +
    deviceState
  const rounded = (ms: number): number => {
    const { roundsUpToMs } = wanted.profile
    return roundsUpToMs === 0 ? ms : Math.ceil(ms / roundsUpToMs) * roundsUpToMs
  }
  const threshold = scenarios.threshold(bytesPerSecond, downtime)
  const mostLeft = Math.min(threshold, scenarios.model.filledPages.high)
  const downtimeMs = figure(played => down(played) * 1000)
  const isExact = wanted.profile.curve === 'as-measured'
  return {
    passes: figure(({ passes }) => passes + 1),
    bytes: figure(({ sentPages, lastPages }) => (sentPages + lastPages) * pageBytes + zeroBytes),
    totalMs: figure(
      played => rounded((played.seconds + down(played)) * 1000),
      isExact ? undefined : leastSeconds * 1000,
    ),
    // The last look may find anything from nothing to the threshold.
    downtimeMs:
      isExact || !value.converged
        ? downtimeMs
        : {
            value: downtimeMs.value,
            low: deviceState * 1000,
            high: ((mostLeft * pageBytes) / linkBytesPerSecond + deviceState) * 1000,
          },
  }
}
