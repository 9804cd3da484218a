/** The means of the points of one window. */

import type { DirtyRatePoint, Increment, SampledPoint } from '../results/curve.js'
import type { Interval } from '../results/measurement.js'
import type { Truth } from '../results/truth.js'
import { Mean } from './mean.js'
import type { Sampled } from './stationarity.js'

/** A point of any mode. */
export type Point = DirtyRatePoint & Partial<SampledPoint>

export class PointMeans {
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

/** What the samples of a point say; empty if that is not known. */
export function sampledOf(sampling: Point['sampling']): Sampled[] {
  const { samples, hits } = sampling ?? {}
  return samples === undefined || hits === undefined ? [] : [{ samples, hits }]
}
