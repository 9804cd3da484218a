/** When a counter began, as it is told to a receiver of OTLP. */

import type { HrTime } from '@opentelemetry/api'
import { describe, expect, it } from 'vitest'
import type { Sample } from '../../ts/metrics/families.js'
import { Points } from '../../ts/metrics/otlp/points.js'

const second = (seconds: number): HrTime => [seconds, 0]
const counter = (target: string, value: number): Sample => ({
  name: 'dirtyrate_dirty_bytes_total',
  labels: { target },
  value,
})

/** The seconds at which the counters of a look began, by target. */
function startsOf(points: Points, at: number, samples: readonly Sample[]): Record<string, number> {
  const [metric] = points.at(second(at), samples)
  return Object.fromEntries(
    (metric?.dataPoints ?? []).map(({ attributes, startTime: [seconds] }) => [
      attributes.target,
      seconds,
    ]),
  )
}

describe('a counter', () => {
  it('began before the first look in which it is, and after the look before', () => {
    const points = new Points(second(10))
    expect(startsOf(points, 20, [counter('a', 1)])).toEqual({ a: 10 })
    expect(startsOf(points, 30, [counter('a', 5), counter('b', 7)])).toEqual({ a: 10, b: 20 })
    expect(startsOf(points, 40, [counter('a', 5), counter('b', 8)])).toEqual({ a: 10, b: 20 })
  })

  it('began anew if it is less than it was, or was away', () => {
    const points = new Points(second(10))
    startsOf(points, 20, [counter('a', 9), counter('b', 9)])
    expect(startsOf(points, 30, [counter('a', 3)])).toEqual({ a: 20 })
    expect(startsOf(points, 40, [counter('a', 4), counter('b', 10)])).toEqual({ a: 20, b: 30 })
  })

  it('has no other labels than its own', () => {
    const points = new Points(second(0))
    const samples: Sample[] = [
      counter('a', 1),
      { name: 'dirtyrate_targets', labels: {}, value: 1 },
      counter('b', 2),
    ]
    const metrics = points.at(second(1), samples)
    expect(
      metrics.map(({ descriptor, dataPoints }) => [descriptor.name, dataPoints.length]),
    ).toEqual([
      ['dirtyrate_dirty_bytes_total', 2],
      ['dirtyrate_targets', 1],
    ])
  })
})
