/** What a curve says about the guest and about migrations over the links, as samples. */

import { setImmediate } from 'node:timers/promises'
import { type Figure, verdicts } from '../prediction/figure.js'
import { parseCurve } from '../prediction/input.js'
import { predict } from '../prediction/migration.js'
import { maySweep } from '../prediction/sweeping.js'
import type { DirtyRateCurve } from '../results/curve.js'
import type { MetricName, Sample } from './families.js'
import type { Link } from './links.js'

const MS_PER_SECOND = 1000

/**
 * The samples of all links, without the label of the target. A prediction takes some tens of
 * milliseconds, so scrapes are answered between two of them. Rejects with ERR_ARGUMENT for a curve
 * from which nothing can be predicted.
 */
export async function predictionSamples(
  curve: DirtyRateCurve,
  memoryBytes: number | undefined,
  links: readonly Link[],
): Promise<Sample[]> {
  const memory = curve.memory ?? (memoryBytes === undefined ? undefined : { bytes: memoryBytes })
  const input = parseCurve({ ...curve, memory }, 'the curve')
  const samples: Sample[] = []
  const add = (name: MetricName, labels: Sample['labels'], value: number): void => {
    samples.push({ name, labels, value })
  }
  add('dirtyrate_curve_may_sweep', {}, Number(maySweep(input)))
  const seen = new Set<string>()
  /** The figures of one half of a pair are the same for each other half. */
  const addOnce = (name: MetricName, half: Sample['labels'], figure: Figure, unit: number) => {
    const key = JSON.stringify([name, half])
    if (seen.has(key)) return
    seen.add(key)
    for (const bound of ['value', 'low', 'high'] as const)
      add(name, { ...half, bound }, inUnit(figure[bound], unit))
  }
  for (const { bandwidth, downtime, wanted } of links) {
    await setImmediate()
    const link = { bandwidth, downtime }
    const made = predict(input, wanted)
    for (const verdict of verdicts)
      add('dirtyrate_prediction_verdict', { ...link, verdict }, Number(made.verdict === verdict))
    add('dirtyrate_prediction_total_seconds', link, inUnit(made.totalMs.value, MS_PER_SECOND))
    add('dirtyrate_prediction_downtime_seconds', link, inUnit(made.downtimeMs.value, MS_PER_SECOND))
    add('dirtyrate_prediction_transfer_bytes', link, inUnit(made.bytes.value, 1))
    addOnce(
      'dirtyrate_prediction_least_downtime_seconds',
      { bandwidth },
      made.leastDowntimeMs,
      MS_PER_SECOND,
    )
    addOnce(
      'dirtyrate_prediction_least_bandwidth_bytes_per_second',
      { downtime },
      made.leastBandwidthBytesPerSecond,
      1,
    )
    for (const { kind, verdict } of made.waysOut)
      add('dirtyrate_prediction_way_out', { ...link, way: kind }, Number(verdict === 'converges'))
  }
  return samples
}

/** Null stands for a migration that does not end. */
function inUnit(value: number | null, unit: number): number {
  return value === null ? Number.POSITIVE_INFINITY : value / unit
}
