/** By which methods a VM can leave its host at a bandwidth, and what each of them takes. */

import type { Bounded } from '../../results/curve.js'
import type { CurveInput } from '../curve-input.js'
import { type Figure, figureOf, type Verdict } from '../figure.js'
import { figuresOf, type Setting } from '../figures.js'
import { leastDowntime } from '../limits.js'
import { scenariosOf, verdictIn } from '../migration.js'
import type { Played } from '../precopy.js'
import type { Scenarios } from '../scenarios.js'
import { compressionOf } from '../ways-out.js'
import type { PlanMethod, Task } from './options.js'

/** What a VM takes that goes by one method, with the share of the link that it can count on. */
export interface Offer {
  readonly method: PlanMethod
  /** What the migration can count on. */
  readonly bytesPerSecond: number
  /** From the beginning until the guest runs at the destination with all of its memory. */
  readonly totalMs: Figure
  /** How long the guest stands still. */
  readonly downtimeMs: Figure
  /** live, more-downtime, compression: the limit to set. */
  readonly downtimeLimitMs?: number
  /** compression: how many channels compress. */
  readonly channels?: number
  /** post-copy: how long the guest runs while pages are missing. */
  readonly pagesMissingMs?: Figure
}

/** A setting in which a method surely works. */
interface Sure extends Setting {
  /** compression: the compressed size of a page. */
  readonly ratio?: Bounded
  readonly channels?: number
}

/** The limit has so much room beside the least downtime: at the edge a migration takes long. */
const ROOM = 0.8
const MS = 1000

/** A VM that is to go. What is expensive to find is found once. */
export class Movable {
  readonly name: string
  readonly #input: CurveInput
  readonly #task: Task
  readonly #scenarios: Scenarios
  /** By method, and then by what the migration can count on. */
  readonly #settings = new Map<PlanMethod, Map<number, Sure | undefined>>()
  /** How long it copies: by method and downtime, and then by bandwidth. */
  readonly #seconds = new Map<PlanMethod, Map<number, Map<number, number>>>()

  constructor(name: string, input: CurveInput, task: Task, memoryBytes: number | undefined) {
    this.name = name
    this.#input = input
    this.#task = task
    const memory = memoryBytes === undefined ? {} : { memoryBytes }
    this.#scenarios = scenariosOf(input, { ...task.wanted, ...memory })
  }

  /** The part of its copying that does not depend on the link. */
  get fixedSeconds(): number {
    const { model, wanted } = this.#scenarios
    const zeros = model.memoryPages - model.filledPages.value
    return zeros * this.#scenarios.zeroSeconds(Number.POSITIVE_INFINITY) + wanted.deviceState
  }

  /** Whether the VM surely goes by a method at a bandwidth. */
  goes(method: PlanMethod, bytesPerSecond: number): boolean {
    return this.#settingOf(method, bytesPerSecond) !== undefined
  }

  /** The verdict of a plain live migration at a bandwidth. */
  verdict(bytesPerSecond: number): Verdict {
    return this.#verdict({ bytesPerSecond, downtime: this.#task.wanted.downtime })
  }

  /** The downtime with which the VM surely goes; null if there is none. */
  leastDowntimeMs(bytesPerSecond: number): number | null {
    return leastDowntime(this.#scenarios, bytesPerSecond).high
  }

  /**
   * How long it most probably copies at `actual` bytes per second, if it may count on
   * `bytesPerSecond`. Infinity if that is not surely enough, or if it gets nowhere at `actual`.
   */
  copySeconds(method: PlanMethod, bytesPerSecond: number, actual: number = bytesPerSecond): number {
    const sure = this.#settingOf(method, bytesPerSecond)
    if (sure === undefined) return Number.POSITIVE_INFINITY
    const known = within(within(this.#seconds, method), sure.downtime)
    let seconds = known.get(actual)
    if (seconds === undefined) {
      seconds = this.#copySecondsOf(method, { ...sure, bytesPerSecond: actual })
      known.set(actual, seconds)
    }
    return seconds
  }

  #copySecondsOf(method: PlanMethod, { bytesPerSecond, downtime, ratio }: Sure): number {
    if (method === 'post-copy') {
      return this.#postCopySeconds(this.#scenarios.probablePass(bytesPerSecond), bytesPerSecond)
    }
    const rate = bytesPerSecond / (ratio?.value ?? 1)
    const { converged, seconds, lastPages, lastZeros } = this.#scenarios.probable(rate, downtime)
    if (!converged) return Number.POSITIVE_INFINITY
    return seconds + this.#scenarios.stoppedSeconds(lastPages, lastZeros, rate)
  }

  /** All figures of a method by which the VM surely goes. */
  offer(method: PlanMethod, bytesPerSecond: number): Offer {
    const sure = this.#settingOf(method, bytesPerSecond)
    if (sure === undefined) throw new Error(`${this.name} does not go by ${method}`)
    if (method === 'post-copy') return this.#postCopy(sure)
    const { totalMs, downtimeMs } = this.#figures(sure)
    return {
      method,
      bytesPerSecond,
      totalMs: mapped(totalMs, ms => ms + this.#task.overhead * MS),
      downtimeMs,
      ...(Number.isFinite(sure.downtime) ? { downtimeLimitMs: sure.downtime * MS } : {}),
      ...(sure.channels === undefined ? {} : { channels: sure.channels }),
    }
  }

  /** With the bounds for the best ratio and for the worst one, if pages are compressed. */
  #figures({ bytesPerSecond, downtime, ratio }: Sure): Pick<Offer, 'totalMs' | 'downtimeMs'> {
    const at = (part: number): Pick<Offer, 'totalMs' | 'downtimeMs'> => {
      const setting = { bytesPerSecond: bytesPerSecond / part, downtime }
      return figuresOf(this.#scenarios, 'converges', setting)
    }
    if (ratio === undefined) return at(1)
    const [best, middle, worst] = [at(ratio.low), at(ratio.value), at(ratio.high)]
    const figure = (of: 'totalMs' | 'downtimeMs'): Figure => ({
      value: middle[of].value,
      low: best[of].low,
      high: worst[of].high,
    })
    return { totalMs: figure('totalMs'), downtimeMs: figure('downtimeMs') }
  }

  #settingOf(method: PlanMethod, bytesPerSecond: number): Sure | undefined {
    const known = within(this.#settings, method)
    if (!known.has(bytesPerSecond)) known.set(bytesPerSecond, this.#find(method, bytesPerSecond))
    return known.get(bytesPerSecond)
  }

  #find(method: PlanMethod, bytesPerSecond: number): Sure | undefined {
    const { downtime } = this.#task.wanted
    switch (method) {
      case 'live':
        return this.#ifSure({ bytesPerSecond, downtime })
      case 'more-downtime':
        return this.#withMoreDowntime(bytesPerSecond)
      case 'compression':
        return this.#compressed(bytesPerSecond)
      // The guest is stopped after one pass, or before it.
      case 'post-copy':
      case 'shutdown':
        return { bytesPerSecond, downtime: Number.POSITIVE_INFINITY }
    }
  }

  #verdict(setting: Setting): Verdict {
    return verdictIn(this.#scenarios, this.#input, setting)
  }

  #ifSure(sure: Sure): Sure | undefined {
    return this.#verdict(sure) === 'converges' ? sure : undefined
  }

  #withMoreDowntime(bytesPerSecond: number): Sure | undefined {
    const { wanted, mostDowntime } = this.#task
    const least = this.leastDowntimeMs(bytesPerSecond)
    if (least === null) return undefined
    // A limit is set in whole milliseconds.
    const roomy = Math.ceil(Math.max(least / ROOM, wanted.downtime * MS)) / MS
    const downtime = Math.min(roomy, mostDowntime)
    return this.#ifSure({ bytesPerSecond, downtime })
  }

  /** Sure even with the worst ratio that is possible. */
  #compressed(bytesPerSecond: number): Sure | undefined {
    const found = compressionOf(this.#input, bytesPerSecond)
    const { downtime } = this.#task.wanted
    if (found === undefined || (found.channels ?? 1) > this.#task.channels) return undefined
    const worst = { bytesPerSecond: bytesPerSecond / found.ratio.high, downtime }
    return this.#ifSure(worst) && { bytesPerSecond, downtime, ...found }
  }

  /** A first pass, and then the pages that are missing at the destination. */
  #postCopySeconds({ seconds, lastPages }: Played, bytesPerSecond: number): number {
    const { pageBytes, wanted } = this.#scenarios
    return seconds + wanted.deviceState + (lastPages * pageBytes) / bytesPerSecond
  }

  #postCopy({ bytesPerSecond }: Setting): Offer {
    const { overhead, wanted } = this.#task
    const { pageBytes } = this.#scenarios
    const value = this.#scenarios.probablePass(bytesPerSecond)
    const others = this.#scenarios.possiblePasses(bytesPerSecond)
    const figure = (of: (played: Played) => number): Figure => figureOf(of(value), others.map(of))
    return {
      method: 'post-copy',
      bytesPerSecond,
      totalMs: figure(one => (this.#postCopySeconds(one, bytesPerSecond) + overhead) * MS),
      downtimeMs: figureOf(wanted.deviceState * MS, []),
      pagesMissingMs: figure(({ lastPages }) => ((lastPages * pageBytes) / bytesPerSecond) * MS),
    }
  }
}

/** The map that `map` has for `key`; it is made if there is none. */
function within<K, L, V>(map: Map<K, Map<L, V>>, key: K): Map<L, V> {
  let inner = map.get(key)
  if (inner === undefined) {
    inner = new Map()
    map.set(key, inner)
  }
  return inner
}

const mapped = ({ value, low, high }: Figure, of: (value: number) => number): Figure => ({
  value: value === null ? null : of(value),
  low: low === null ? null : of(low),
  high: high === null ? null : of(high),
})
