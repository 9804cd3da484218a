/** Several curves one after the other: their means, their spread, and whether the guest changes. */

import type { Bounded, CurveGranularity, CurveRegion, DirtyRateCurve } from '../results/curve.js'
import type { Frame, GuestActivity, GuestCost } from '../results/measurement.js'
import type { Warning } from '../results/warning.js'
import { Mean } from './mean.js'
import { type Point, PointMeans } from './point-means.js'
import { compared, type KeptPoint, type KeptRound } from './rounds.js'
import { changeWarning } from './warnings.js'

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
  readonly #rounds: KeptRound[] = []
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
    const points = new Map<number, KeptPoint>()
    for (const point of curve.points as readonly Point[]) {
      const { bytesPerSecond, pages, sampling } = point
      points.set(point.requestedMs, { bytesPerSecond, pages, sampling })
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
    const repeated = compared(this.#rounds, windows)
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

/** The entry of `key`, which is made if there is none. */
function at<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const found = map.get(key) ?? make()
  map.set(key, found)
  return found
}
