/** The metrics in the form of OpenTelemetry, with the names, labels and values of a scrape. */

import { type HrTime, ValueType } from '@opentelemetry/api'
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type MetricData,
} from '@opentelemetry/sdk-metrics'
import { familyOf, type MetricName, type Sample } from '../families.js'

/** What is known of a counter: since when it counts, and its last value. */
interface Counted {
  readonly startTime: HrTime
  readonly value: number
}

/**
 * Gives each sample its times. A receiver must know when a counter was 0. That is somewhere between
 * the last two looks for a counter that is new, or less than it was: its target came meanwhile, or
 * went and came again.
 */
export class Points {
  #lookedAt: HrTime
  /** Only the counters of the last look are kept, so that targets that have gone leave nothing. */
  #counters: ReadonlyMap<string, Counted> = new Map()

  /** `startedAt` is when the first counter can have begun. */
  constructor(startedAt: HrTime) {
    this.#lookedAt = startedAt
  }

  /** All samples of one look, by metric, in the order of the metrics. */
  at(time: HrTime, samples: Iterable<Sample>): MetricData[] {
    const counters = new Map<string, Counted>()
    const points = new Map<MetricName, DataPoint<number>[]>()
    for (const sample of samples) {
      const { name, labels: attributes, value } = sample
      let startTime = time
      if (familyOf(name).type === 'counter') {
        const key = JSON.stringify([name, attributes])
        startTime = this.#startOf(key, value)
        counters.set(key, { startTime, value })
      }
      const point = { attributes, value, startTime, endTime: time }
      const ofMetric = points.get(name)
      if (ofMetric === undefined) points.set(name, [point])
      else ofMetric.push(point)
    }
    this.#counters = counters
    this.#lookedAt = time
    return Array.from(points, ([name, dataPoints]) => metricOf(name, dataPoints))
  }

  #startOf(key: string, value: number): HrTime {
    const before = this.#counters.get(key)
    return before !== undefined && before.value <= value ? before.startTime : this.#lookedAt
  }
}

/** The unit is at the end of the name, as for Prometheus, and is not said twice. */
function metricOf(name: MetricName, dataPoints: DataPoint<number>[]): MetricData {
  const { type, help } = familyOf(name)
  const descriptor = { name, description: help, unit: '', valueType: ValueType.DOUBLE }
  const common = {
    descriptor,
    dataPoints,
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  }
  return type === 'counter'
    ? { ...common, dataPointType: DataPointType.SUM, isMonotonic: true }
    : { ...common, dataPointType: DataPointType.GAUGE }
}
