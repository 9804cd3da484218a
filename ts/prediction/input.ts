/**
 * Reads a curve from a document: that of `dirtyrate curve --json`, or the table of A. Gudkov's
 * message about calc-dirty-rate. Every number is checked, because a document may come from
 * anywhere.
 */

import { parseObject, show } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import type { Bounded, CurveGranularity, CurveRegion, RepeatedCurve } from '../results/curve.js'
import type { Interval } from '../results/measurement.js'
import { arrayOf, boundedOf, columnOf, numberOf, optional, textOf } from './checks.js'
import { wilson } from './normal.js'

/**
 * One window of a curve as a prediction takes it: the members of a `DirtyRatePoint` that it needs.
 */
export interface PredictionPoint {
  readonly windowNs: number
  readonly pages?: number | undefined
  readonly bytesPerSecond: number
  readonly interval: Interval
}

/**
 * What a prediction takes: each `DirtyRateCurve` is one, and so is what JSON.parse() makes of the
 * document of `dirtyrate curve --json`.
 */
export interface PredictionCurve {
  readonly mode?: string | undefined
  readonly pageSize?: number | undefined
  readonly points: readonly PredictionPoint[]
  readonly regions?: readonly CurveRegion[] | undefined
  readonly granularities?: readonly CurveGranularity[] | undefined
  readonly memory?:
    | {
        readonly bytes: number
        readonly zeroPages?: Bounded | undefined
        readonly compressedRatio?: Bounded | undefined
        readonly compressionBytesPerSecond?: number | undefined
      }
    | undefined
  readonly repeated?: Pick<RepeatedCurve, 'stationary' | 'phases'> | undefined
  readonly complete?: boolean | undefined
}

/** A sampled curve in the form of `gudkov-2023-memcached.json`. */
export interface PublishedCurve {
  readonly pageSize: number
  readonly totalPages: number
  readonly sampledPages: number
  readonly zeroPagesInSample: number
  readonly windowSeconds: readonly number[]
  readonly dirtySampledPages: readonly number[]
}

/** Distinct pages of one window, with the bounds that the measurement gives. */
export interface InputPoint {
  readonly seconds: number
  readonly pages: number
  readonly low: number
  /** Infinity if no upper bound is known. */
  readonly high: number
  /** The confidence of the bounds; 1 if they are certain. */
  readonly confidence: number
}

/** A curve whose numbers are checked. */
export interface CurveInput {
  readonly mode: string
  readonly pageSize: number
  readonly points: readonly InputPoint[]
  /** For each region its pages of memory, and its dirty pages at each point. */
  readonly regions: readonly { readonly memoryPages: number; readonly pages: readonly number[] }[]
  readonly granularities: readonly CurveGranularity[]
  readonly memoryBytes?: number
  readonly zeroPages?: Bounded
  readonly compressedRatio?: Bounded
  readonly compressionBytesPerSecond?: number
  /** False if the guest changed while it was measured. */
  readonly stationary: boolean
  /** The mean rates of each part of the time, one per point, if there is more than one part. */
  readonly phases: readonly {
    readonly rounds: number
    readonly bytesPerSecond: readonly number[]
  }[]
  /** False if the points are lower bounds. */
  readonly complete: boolean
}

export const PAGE_SIZE = 4096
/** The limits of what is read. `dirtyrate curve` measures at most 1000 windows. */
const MOST_POINTS = 10_000
const MOST_REGIONS = 2 ** 17
const MOST_CELLS = 2 ** 23
const MOST_GRANULARITIES = 64
const MOST_PHASES = 1000
const MOST_PAGE_SIZE = 2 ** 30
/** 64 PiB, as much as 56 bits of address reach. */
const MOST_BYTES = 2 ** 56 / 1024
/** 100 days. */
const LONGEST_NS = 100 * 86_400e9

/** The curve in `document`. Throws ERR_ARGUMENT, which calls it `name`. */
export function parseCurve(document: PredictionCurve | PublishedCurve, name = 'curve'): CurveInput {
  parseObject(document, name, 'what dirtyrate curve --json prints')
  if ('windowSeconds' in document) return parsePublished(document, name)
  if (!('points' in document)) throw notACurve(document, name)
  const pageSize = optional(document.pageSize, size =>
    numberOf(size, `${name}.pageSize`, { low: 512, high: MOST_PAGE_SIZE, whole: true }),
  )
  const points = parsePoints(document.points, pageSize ?? PAGE_SIZE, `${name}.points`)
  const memory = optional(document.memory, value =>
    parseObject(value, `${name}.memory`, '{ bytes }'),
  )
  const memoryBytes = optional(memory?.bytes, bytes =>
    numberOf(bytes, `${name}.memory.bytes`, { low: 1, high: MOST_BYTES, whole: true }),
  )
  const zeroPages = optional(memory?.zeroPages, pages =>
    boundedOf(pages, `${name}.memory.zeroPages`, MOST_BYTES),
  )
  const compressedRatio = optional(memory?.compressedRatio, ratio =>
    boundedOf(ratio, `${name}.memory.compressedRatio`, 2),
  )
  const compressionBytesPerSecond = optional(memory?.compressionBytesPerSecond, rate =>
    numberOf(rate, `${name}.memory.compressionBytesPerSecond`, { low: 1, high: MOST_RATE }),
  )
  const count = points.length
  const { stationary, phases } = parseRepeated(document.repeated, count, `${name}.repeated`)
  return {
    mode: optional(document.mode, mode => textOf(mode, `${name}.mode`)) ?? 'unknown',
    pageSize: pageSize ?? PAGE_SIZE,
    points,
    regions: parseRegions(document.regions, count, pageSize ?? PAGE_SIZE, `${name}.regions`),
    granularities: parseGranularities(document.granularities, count, `${name}.granularities`),
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    ...(zeroPages === undefined ? {} : { zeroPages }),
    ...(compressedRatio === undefined ? {} : { compressedRatio }),
    ...(compressionBytesPerSecond === undefined ? {} : { compressionBytesPerSecond }),
    stationary,
    phases,
    complete: document.complete !== false,
  }
}

function notACurve(document: object, name: string): Error {
  const isMeasurement = 'window' in document && 'bytesPerSecond' in document
  return argumentError(
    `${name}: it has no points`,
    isMeasurement
      ? 'This is the measurement of one window. Give what dirtyrate curve --json prints.'
      : 'Give what dirtyrate curve --json prints.',
  )
}

function parsePoints(given: unknown, pageSize: number, name: string): InputPoint[] {
  const points = arrayOf<PredictionPoint>(given, name, 1, MOST_POINTS).map((point, at) =>
    parsePoint(point, pageSize, `${name}[${at}]`),
  )
  refuseUnsorted(points, name)
  return points
}

function refuseUnsorted(points: readonly InputPoint[], name: string): void {
  points.forEach(({ seconds }, at) => {
    const before = points[at - 1]?.seconds
    if (before !== undefined && seconds <= before) {
      throw argumentError(
        `${name}[${at}]: its window of ${seconds} s is not longer than the one before, ${before} s`,
        'Give the points in ascending order of their windows.',
      )
    }
  })
}

function parsePoint(point: PredictionPoint, pageSize: number, name: string): InputPoint {
  parseObject(point, name, '{ windowNs, bytesPerSecond, interval }')
  const windowNs = numberOf(point.windowNs, `${name}.windowNs`, { low: 1, high: LONGEST_NS })
  const seconds = windowNs / 1e9
  const rate = numberOf(point.bytesPerSecond, `${name}.bytesPerSecond`, { high: MOST_RATE })
  const counted = optional(point.pages, pages =>
    numberOf(pages, `${name}.pages`, { high: MOST_BYTES / pageSize }),
  )
  const pages = counted ?? (rate * seconds) / pageSize
  parseObject(point.interval, `${name}.interval`, '{ low, high, confidence }')
  const bound = (value: number, field: string): number =>
    numberOf(value, `${name}.interval.${field}`, { high: MOST_RATE })
  const { high, confidence } = point.interval
  // The bounds are those of the rate, whose windows may be those of the blocks.
  const ofRate = (value: number): number =>
    rate > 0 && pages > 0 ? (pages * value) / rate : (value * seconds) / pageSize
  return {
    seconds,
    pages,
    low: Math.min(ofRate(bound(point.interval.low, 'low')), pages),
    high: high === null ? Number.POSITIVE_INFINITY : Math.max(ofRate(bound(high, 'high')), pages),
    confidence: numberOf(confidence, `${name}.interval.confidence`, { low: 0.01, high: 1 }),
  }
}

/** More than any memory can do. */
const MOST_RATE = 2 ** 60

function parseRegions(
  given: unknown,
  points: number,
  pageSize: number,
  name: string,
): { memoryPages: number; pages: readonly number[] }[] {
  const regions = optional(given, value => arrayOf<CurveRegion>(value, name, 0, MOST_REGIONS)) ?? []
  if (regions.length * points > MOST_CELLS) {
    throw argumentError(
      `${name}: ${regions.length} regions of ${points} points are too many`,
      `Give at most ${MOST_CELLS} numbers, with fewer points.`,
    )
  }
  return regions.map((region, at) => {
    const of = `${name}[${at}]`
    parseObject(region, of, '{ block, offset, bytes, pages }')
    const bytes = numberOf(region.bytes, `${of}.bytes`, { low: 1, high: MOST_BYTES })
    const most = Math.ceil(bytes / pageSize)
    return { memoryPages: most, pages: columnOf(region.pages, `${of}.pages`, points, most) }
  })
}

function parseGranularities(given: unknown, points: number, name: string): CurveGranularity[] {
  const list =
    optional(given, value => arrayOf<CurveGranularity>(value, name, 0, MOST_GRANULARITIES)) ?? []
  return list.map((one, at) => {
    const of = `${name}[${at}]`
    parseObject(one, of, '{ granuleBytes, dirtyGranules, extents }')
    return {
      granuleBytes: numberOf(one.granuleBytes, `${of}.granuleBytes`, {
        low: 512,
        high: 2 ** 40,
        whole: true,
      }),
      dirtyGranules: columnOf(one.dirtyGranules, `${of}.dirtyGranules`, points, MOST_BYTES),
      extents: columnOf(one.extents, `${of}.extents`, points, MOST_BYTES),
    }
  })
}

function parseRepeated(
  given: PredictionCurve['repeated'],
  points: number,
  name: string,
): Pick<CurveInput, 'stationary' | 'phases'> {
  if (given === undefined || given === null) return { stationary: true, phases: [] }
  parseObject(given, name, '{ stationary, phases }')
  if (typeof given.stationary !== 'boolean')
    throw argumentError(`${name}.stationary: ${show(given.stationary)} is not true or false`)
  const phases = arrayOf<{ rounds: number; bytesPerSecond: number[] }>(
    given.phases ?? [],
    `${name}.phases`,
    0,
    MOST_PHASES,
  ).map((phase, at) => ({
    rounds: numberOf(phase?.rounds, `${name}.phases[${at}].rounds`, { low: 1, high: 1e9 }),
    bytesPerSecond: columnOf(
      phase.bytesPerSecond,
      `${name}.phases[${at}].bytesPerSecond`,
      points,
      MOST_RATE,
    ),
  }))
  return { stationary: given.stationary, phases }
}

/** The share of the samples that the intervals of the published form are made for. */
const CONFIDENCE = 0.95

function parsePublished(document: PublishedCurve, name: string): CurveInput {
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
