/** Reads the table of A. Gudkov's message about calc-dirty-rate: the samples of each window. */

import { argumentError } from '../ground/errors.js'
import type { Bounded } from '../results/curve.js'
import { arrayOf, columnOf, numberOf } from './checks.js'
import {
  type CurveInput,
  LONGEST_NS,
  MOST_BYTES,
  MOST_PAGE_SIZE,
  MOST_POINTS,
  refuseUnsorted,
} from './curve-input.js'
import { wilson } from './normal.js'

/** A sampled curve in the form of `gudkov-2023-memcached.json`. */
export interface PublishedCurve {
  readonly pageSize: number
  readonly totalPages: number
  readonly sampledPages: number
  readonly zeroPagesInSample: number
  readonly windowSeconds: readonly number[]
  readonly dirtySampledPages: readonly number[]
}

/** The share of the samples that the intervals of the published form are made for. */
const CONFIDENCE = 0.95

/** The curve in `document`. Throws ERR_ARGUMENT, which calls it `name`. */
export function parsePublished(document: PublishedCurve, name: string): CurveInput {
  const of = (field: keyof PublishedCurve): string => `${name}.${field}`
  const whole = (field: 'totalPages' | 'sampledPages' | 'zeroPagesInSample', low = 1): number =>
    numberOf(document[field], of(field), { low, high: MOST_BYTES, whole: true })
  const pageSize = numberOf(document.pageSize, of('pageSize'), {
    low: 512,
    high: MOST_PAGE_SIZE,
    whole: true,
  })
  const total = whole('totalPages')
  const samples = whole('sampledPages')
  const zeros = whole('zeroPagesInSample', 0)
  const windows = arrayOf<number>(document.windowSeconds, of('windowSeconds'), 1, MOST_POINTS)
  const hits = columnOf(
    document.dirtySampledPages,
    of('dirtySampledPages'),
    windows.length,
    samples,
  )
  if (samples > total || zeros > samples) {
    const [more, field, whole] =
      zeros > samples
        ? [zeros, 'zeroPagesInSample', 'sampledPages']
        : [samples, 'sampledPages', 'totalPages']
    throw argumentError(`${name}.${field}: ${more} is more than ${whole}`)
  }
  const pagesOf = (share: number): number => share * total
  const bounded = (count: number): Bounded => {
    const [low, high] = wilson(count, samples, CONFIDENCE)
    return { value: pagesOf(count / samples), low: pagesOf(low), high: pagesOf(high) }
  }
  const points = windows.map((window, at) => {
    const { value, low, high } = bounded(hits[at] ?? 0)
    const seconds = numberOf(window, `${of('windowSeconds')}[${at}]`, {
      low: 1e-9,
      high: LONGEST_NS / 1e9,
    })
    return { seconds, pages: value, low, high, confidence: CONFIDENCE }
  })
  refuseUnsorted(points, of('windowSeconds'))
  return {
    mode: 'page-sampling',
    pageSize,
    points,
    regions: [],
    granularities: [],
    memoryBytes: total * pageSize,
    zeroPages: bounded(zeros),
    stationary: true,
    phases: [],
    complete: true,
  }
}
