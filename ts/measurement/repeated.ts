/** Several curves one after the other: their means, their spread, and whether the guest changes. */

import type {
  Bounded,
  CurveGranularity,
  CurvePhase,
  CurveRegion,
  CurveRound,
  CurveSpread,
  DirtyRateCurve,
  DirtyRatePoint,
  Increment,
  RepeatedCurve,
  SampledPoint,
} from '../results/curve.js'
import type { Frame, GuestActivity, GuestCost, Interval } from '../results/measurement.js'
import type { Truth } from '../results/truth.js'
import type { Warning } from '../results/warning.js'
import { Mean } from './mean.js'
import { type Sampled, stationarity } from './stationarity.js'
import { changeWarning } from './warnings.js'

/** A point of any mode. */
type Point = DirtyRatePoint & Partial<SampledPoint>

/** The means of one region, by the length of the window that was asked for. */
interface RegionMeans {
  readonly region: Omit<CurveRegion, 'pages' | 'low' | 'high'>
  readonly pages: Map<number, Mean>
  isEstimated: boolean
}

interface GranularityMeans {
  readonly dirtyGranules: Map<number, Mean>
  readonly extents: Map<number, Mean>
}

/**
 * Takes the curves of the rounds in their order. It keeps two numbers of each point, and the sums
 * of the rest, so that a long run takes little memory.
 */
export class RepeatedCurves {
  readonly #frame: Frame
  readonly #points = new Map<number, PointMeans>()
  readonly #regions = new Map<string, RegionMeans>()
  readonly #granularities = new Map<number, GranularityMeans>()
  readonly #rounds: { startedAt: string; points: Map<number, Point> }[] = []
  readonly #costs: GuestCost[] = []
  readonly #warnings = new Map<Warning['code'], { first: Warning; rounds: number }>()
  #complete = true
  #last: DirtyRateCurve | undefined

  constructor(frame: Frame) {
    this.#frame = frame
  }

  /** How many curves there are so far. */
  get count(): number {
    return this.#rounds.length
  }

  add(curve: DirtyRateCurve): void {
    const points = new Map<number, Point>()
    for (const point of curve.points as readonly Point[]) {
      points.set(point.requestedMs, only(point))
      at(this.#points, point.requestedMs, () => new PointMeans()).add(point)
    }
    this.#rounds.push({ startedAt: curve.startedAt, points })
    this.#addRegions(curve)
    this.#addGranularities(curve)
    this.#addWarnings(curve.warnings)
    this.#complete &&= curve.complete
    if (curve.cost !== undefined) this.#costs.push(curve.cost.guest)
    this.#last = curve
  }

  /**
   * The curve of the means, with `warnings` beside those of the rounds. There must be a curve at
   * least.
   */
  result(warnings: readonly Warning[] = []): DirtyRateCurve {
    const last = this.#last
    if (last === undefined) throw new RangeError('a repeated curve has at least one round')
    const windows = [...this.#points.keys()].sort((a, b) => a - b)
    const { mode, pageSize, memory } = last
    const repeated = this.#repeated(windows)
    const curve = {
      ...this.#frame,
      mode,
      ...(pageSize === undefined ? {} : { pageSize }),
      points: windows.map(requestedMs =>
        this.#points.get(requestedMs)?.mean(requestedMs, pageSize),
      ),
      ...(this.#regions.size === 0 ? {} : { regions: this.#regionsOf(windows) }),
      ...(this.#granularities.size === 0 ? {} : { granularities: this.#granularitiesOf(windows) }),
      ...(memory === undefined ? {} : { memory }),
      ...(this.#costs.length === 0 ? {} : { cost: { guest: meanCost(this.#costs) } }),
      repeated,
      complete: this.#complete,
      warnings: [
        ...warnings,
        ...this.#collapsed(),
        ...changeWarning(repeated, windows.at(-1) ?? 0),
      ],
    }
    // Each round had the members of its mode, and so have their means.
    return curve as DirtyRateCurve
  }

  #addRegions({ regions = [], points }: DirtyRateCurve): void {
    const seen = new Map<string, number>()
    for (const { pages, low, high, ...region } of regions) {
      const place = `${region.block}@${region.guestAddress ?? ''}+${region.offset}`
      // A block that was removed and added again in one round has two regions of one place.
      const number = seen.get(place) ?? 0
      seen.set(place, number + 1)
      const means = at(this.#regions, `${place}#${number}`, () => ({
        region,
        pages: new Map<number, Mean>(),
        isEstimated: low !== undefined,
      }))
      for (const [column, { requestedMs }] of points.entries()) {
        const value = pages[column] ?? 0
        const bounds = { low: low?.[column] ?? value, high: high?.[column] ?? value }
        at(means.pages, requestedMs, () => new Mean()).add(value, bounds)
      }
    }
  }

  #addGranularities({ granularities = [], points }: DirtyRateCurve): void {
    for (const { granuleBytes, dirtyGranules, extents } of granularities) {
      const means = at(this.#granularities, granuleBytes, () => ({
        dirtyGranules: new Map<number, Mean>(),
        extents: new Map<number, Mean>(),
      }))
      for (const [column, { requestedMs }] of points.entries()) {
        at(means.dirtyGranules, requestedMs, () => new Mean()).add(dirtyGranules[column] ?? 0)
        at(means.extents, requestedMs, () => new Mean()).add(extents[column] ?? 0)
      }
    }
  }

  #addWarnings(warnings: readonly Warning[]): void {
    const ofRound = new Map(warnings.map(warning => [warning.code, warning]))
    for (const [code, first] of ofRound)
      at(this.#warnings, code, () => ({ first, rounds: 0 })).rounds++
  }

  /** One warning of each code: many rounds with one warning each would hide the others. */
  #collapsed(): Warning[] {
    return [...this.#warnings.values()].map(({ first, rounds }) =>
      rounds === 1
        ? first
        : { ...first, message: `${first.message} (and so in ${rounds} of ${this.count} rounds)` },
    )
  }

  #regionsOf(windows: readonly number[]): CurveRegion[] {
    return [...this.#regions.values()].map(({ region, pages, isEstimated }) => {
      // A region that a round did not have had no dirty page there.
      const column = (of: keyof Bounded): number[] =>
        windows.map(window => pages.get(window)?.bounded(this.#points.get(window)?.rounds)[of] ?? 0)
      return {
        ...region,
        pages: column('value'),
        ...(isEstimated ? { low: column('low'), high: column('high') } : {}),
      }
    })
  }

  #granularitiesOf(windows: readonly number[]): CurveGranularity[] {
    return [...this.#granularities].map(([granuleBytes, { dirtyGranules, extents }]) => ({
      granuleBytes,
      dirtyGranules: windows.map(window => dirtyGranules.get(window)?.bounded().value ?? 0),
      extents: windows.map(window => extents.get(window)?.bounded().value ?? 0),
    }))
  }

  #repeated(windows: readonly number[]): RepeatedCurve {
    const rounds = this.#rounds.map(({ startedAt, points }): CurveRound => {
      const pages = windows.map(window => points.get(window)?.pages ?? null)
      return {
        startedAt,
        bytesPerSecond: windows.map(window => points.get(window)?.bytesPerSecond ?? null),
        ...(pages.every(value => value === null) ? {} : { pages }),
      }
    })
    // The longest window is never left out, so each round has it.
    const longest = windows.at(-1) ?? 0
    const ofLongest = this.#rounds.flatMap(({ points }) => points.get(longest) ?? [])
    const sampled = ofLongest.flatMap(({ sampling }) => sampledOf(sampling))
    const { stationary, tests, phases } = stationarity(
      ofLongest.map(({ bytesPerSecond }) => bytesPerSecond),
      sampled.length === ofLongest.length ? sampled : undefined,
    )
    return {
      rounds,
      spread: windows.map((_, column) => spreadOf(known(rounds, column))),
      stationary,
      tests,
      phases: phases.map((first, at) => phaseOf(rounds, first, phases[at + 1], windows.length)),
    }
  }
}

/** The means of the points of one window. */
class PointMeans {
  rounds = 0
  readonly #windowNs = new Mean()
  readonly #rate = new Mean()
  readonly #pages = new Mean()
  readonly #increment = new Mean()
  readonly #truth = { low: new Mean(), pages: new Mean(), high: new Mean() }
  readonly #sampling = { samples: 0, hits: 0, zeroPages: 0, samplesPerGiB: 0 }
  readonly #has = { pages: 0, increment: 0, truth: 0, sampling: 0, samples: 0 }
  #confidence = 1

  add({ windowNs, pages, bytesPerSecond, interval, increment, sampling, truth }: Point): void {
    this.rounds++
    this.#windowNs.add(windowNs)
    const { low, high, confidence } = interval
    this.#confidence = confidence
    this.#rate.add(bytesPerSecond, { low, high: high ?? Number.POSITIVE_INFINITY })
    if (pages !== undefined) this.#has.pages += this.#pages.add(pages)
    if (increment !== undefined)
      this.#has.increment += this.#increment.add(increment.pages, increment)
    if (truth !== undefined) {
      this.#has.truth++
      for (const name of ['low', 'pages', 'high'] as const) this.#truth[name].add(truth[name])
    }
    if (sampling === undefined) return
    this.#has.sampling++
    this.#sampling.samplesPerGiB = sampling.samplesPerGiB
    for (const of of sampledOf(sampling)) {
      this.#has.samples++
      this.#sampling.samples += of.samples
      this.#sampling.hits += of.hits
      this.#sampling.zeroPages += sampling.zeroPages ?? 0
    }
  }

  mean(requestedMs: number, pageSize: number | undefined): Point {
    const pages = this.#pages.bounded().value
    const isOf = (count: number): boolean => count === this.rounds
    return {
      windowNs: this.#windowNs.bounded().value,
      requestedMs,
      ...(isOf(this.#has.pages) ? { pages } : {}),
      ...(isOf(this.#has.pages) && pageSize !== undefined ? { dirtyBytes: pages * pageSize } : {}),
      bytesPerSecond: this.#rate.bounded().value,
      interval: this.#interval(),
      ...(isOf(this.#has.increment) ? { increment: this.#incrementOf() } : {}),
      ...(isOf(this.#has.sampling) ? { sampling: this.#samplingOf() } : {}),
      ...(isOf(this.#has.truth) ? { truth: this.#truthOf() } : {}),
    }
  }

  #interval(): Interval {
    // Bounds that surely hold are added as they are: their errors need not cancel each other.
    const { low, high } = this.#confidence === 1 ? this.#rate.sure() : this.#rate.bounded()
    return { low, high: Number.isFinite(high) ? high : null, confidence: this.#confidence }
  }

  #incrementOf(): Increment {
    const { value, low, high } = this.#increment.bounded()
    return { pages: value, low, high }
  }

  #samplingOf(): NonNullable<Point['sampling']> {
    const { samplesPerGiB, ...counts } = this.#sampling
    return this.#has.samples === this.rounds ? { samplesPerGiB, ...counts } : { samplesPerGiB }
  }

  #truthOf(): Truth {
    const { low, pages, high } = this.#truth
    return {
      low: low.bounded().value,
      pages: pages.bounded().value,
      high: high.bounded().value,
    }
  }
}

/**
 * What the guest was observed to do in the rounds, as the mean, and before the first of them. A
 * figure that is not in a round did not move there.
 */
function meanCost(costs: readonly GuestCost[]): GuestCost {
  const { before } = costs[0] ?? {}
  const during: { -readonly [Figure in keyof GuestActivity]: number } = {}
  for (const figure of costs.flatMap(cost => Object.keys(cost.during) as (keyof GuestActivity)[])) {
    const sum = costs.reduce((sum, cost) => sum + (cost.during[figure] ?? 0), 0)
    during[figure] = Math.round(sum / costs.length)
  }
  return { ...(before === undefined ? {} : { before }), during }
}

/** What is kept of a point of one round. */
function only({ bytesPerSecond, pages, sampling }: Point): Point {
  return { bytesPerSecond, pages, sampling } as Point
}

function sampledOf(sampling: Point['sampling']): Sampled[] {
  const { samples, hits } = sampling ?? {}
  return samples === undefined || hits === undefined ? [] : [{ samples, hits }]
}

/** The rates of one window in the rounds that measured it. */
function known(rounds: readonly CurveRound[], column: number): number[] {
  return rounds.flatMap(({ bytesPerSecond }) => bytesPerSecond[column] ?? [])
}

function spreadOf(rates: readonly number[]): CurveSpread {
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length
  const squares = rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0)
  return {
    standardDeviation: rates.length < 2 ? 0 : Math.sqrt(squares / (rates.length - 1)),
    least: Math.min(...rates),
    most: Math.max(...rates),
  }
}

function phaseOf(
  all: readonly CurveRound[],
  first: number,
  next: number | undefined,
  windows: number,
): CurvePhase {
  const rounds = all.slice(first, next)
  const means = Array.from({ length: windows }, (_, column) => {
    const rates = known(rounds, column)
    return rates.length === 0 ? null : rates.reduce((sum, rate) => sum + rate, 0) / rates.length
  })
  return {
    firstRound: first,
    rounds: rounds.length,
    startedAt: rounds[0]?.startedAt ?? '',
    bytesPerSecond: means,
  }
}

/** The entry of `key`, which is made if there is none. */
function at<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const found = map.get(key) ?? make()
  map.set(key, found)
  return found
}
