/** The metrics of all targets, as text in the two formats that Prometheus reads. */

import { Counter, Gauge, Registry, type RegistryContentType } from 'prom-client'
import { families, type MetricName, type Sample } from './families.js'
import { uniqueLabelOf } from './labels.js'
import type { Link } from './links.js'
import { processSamples } from './process.js'
import { TargetSeries } from './target-series.js'

/** The formats of an answer. */
export type Format = 'openmetrics' | 'text'

/** An answer to a scrape. */
export interface Exposition {
  readonly contentType: string
  readonly text: string
}

/**
 * The format to answer in. Every Prometheus since version 2.5 asks for OpenMetrics, and other
 * clients get the text that all of them read.
 */
export function formatFor(accept: string): Format {
  const [, parameters] = /application\/openmetrics-text([^,]*)/.exec(accept) ?? []
  const isRefused = /;\s*q=0(\.0*)?\s*(;|$)/.test(parameters ?? '')
  return parameters === undefined || isRefused ? 'text' : 'openmetrics'
}

export class Metrics {
  readonly #version: string
  readonly #links: readonly Link[]
  readonly #more: () => Iterable<Sample>
  readonly #targets = new Map<string, TargetSeries>()
  readonly #exporters: Record<Format, Exporter> = {
    openmetrics: new Exporter(Registry.OPENMETRICS_CONTENT_TYPE),
    text: new Exporter(Registry.PROMETHEUS_CONTENT_TYPE),
  }

  /** `links` are for targets without links of their own; `more` gives what is of no target. */
  constructor({
    version,
    links = [],
    more = () => [],
  }: {
    version: string
    links?: readonly Link[]
    more?: () => Iterable<Sample>
  }) {
    this.#version = version
    this.#links = links
    this.#more = more
  }

  /** The series of a further target, which may have the name of its VM. */
  add(
    target: string,
    { links = this.#links, name }: { links?: readonly Link[]; name?: string | undefined } = {},
  ): TargetSeries {
    const label = uniqueLabelOf(target, new Set(this.#targets.keys()))
    const series = new TargetSeries(label, links, name)
    this.#targets.set(label, series)
    return series
  }

  /** Ends the series of a target. If it comes again, its counters begin at 0 anew. */
  remove(series: TargetSeries): void {
    for (const [label, one] of this.#targets) if (one === series) this.#targets.delete(label)
  }

  /** All metrics as they are now. Nothing is measured for it. */
  expose(format: Format): Promise<Exposition> {
    return this.#exporters[format].expose(() => this.samples())
  }

  /** All metrics as they are now, one after the other. */
  *samples(): Generator<Sample, void, undefined> {
    yield { name: 'dirtyrate_build_info', labels: { version: this.#version }, value: 1 }
    yield { name: 'dirtyrate_targets', labels: {}, value: this.#targets.size }
    yield* this.#more()
    for (const series of this.#targets.values()) yield* series.samples()
    yield* processSamples()
  }
}

/**
 * Writes samples in one format. Each format has metrics of its own, because prom-client takes the
 * ending `_total` off the name of a counter that it has written as OpenMetrics once.
 */
class Exporter {
  readonly #registry: Registry<RegistryContentType> = new Registry()
  readonly #metrics: ReadonlyMap<MetricName, Counter | Gauge>
  /** The writing that is under way, which all requests share that come meanwhile. */
  #writing: Promise<Exposition> | undefined

  constructor(contentType: RegistryContentType) {
    this.#registry.setContentType(contentType)
    const registers = [this.#registry]
    this.#metrics = new Map(
      Object.entries(families).map(([name, { type, labels, help }]) => {
        const configuration = { name, help, labelNames: labels, registers }
        const metric = type === 'counter' ? new Counter(configuration) : new Gauge(configuration)
        return [name as MetricName, metric]
      }),
    )
  }

  expose(samples: () => Iterable<Sample>): Promise<Exposition> {
    this.#writing ??= this.#write(samples()).finally(() => {
      this.#writing = undefined
    })
    return this.#writing
  }

  async #write(samples: Iterable<Sample>): Promise<Exposition> {
    for (const metric of this.#metrics.values()) forget(metric)
    for (const { name, labels, value } of samples) {
      const metric = this.#metrics.get(name)
      if (metric === undefined) throw new RangeError(`there is no metric ${name}`)
      if (metric instanceof Counter) metric.inc(labels, value)
      else metric.set(labels, value)
    }
    const text = await this.#registry.metrics()
    return { contentType: this.#registry.contentType, text }
  }
}

/** prom-client takes a metric without labels for one with the value 0, until that is removed. */
function forget(metric: Counter | Gauge): void {
  metric.reset()
  metric.remove({})
}
