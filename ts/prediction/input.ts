/**
 * Reads a curve from a document: that of `dirtyrate curve --json`, or a published one. Every number
 * is checked, because a document may come from anywhere.
 */

import { parseObject, show } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import type { Bounded, CurveGranularity, CurveRegion, RepeatedCurve } from '../results/curve.js'
import type { Interval } from '../results/measurement.js'
import { arrayOf, boundedOf, columnOf, numberOf, optional, textOf } from './checks.js'
import {
  type CurveInput,
  type InputPoint,
  type InputRegion,
  LONGEST_NS,
  MOST_BYTES,
  MOST_PAGE_SIZE,
  MOST_POINTS,
  PAGE_SIZE,
  refuseUnsorted,
} from './curve-input.js'
import { type PublishedCurve, parsePublished } from './published-curve.js'

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

/** The limits of what is read. */
const MOST_REGIONS = 2 ** 17
const MOST_CELLS = 2 ** 23
const MOST_GRANULARITIES = 64
const MOST_PHASES = 1000
/** The same number, computed in two ways, may differ by this part. */
const ROUNDING = 1e-6
/** The pages of the regions of a sample add up to the pages of the whole but for this factor. */
const REGIONS_FACTOR = 2
/** A region of a curve may be a little larger than the memory, which QEMU rounds to MiB. */
const REGIONS_MEMORY = 1.1
/** More than any memory can do. */
const MOST_RATE = 2 ** 60

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
  const memoryPages = (memoryBytes ?? MOST_BYTES) / (pageSize ?? PAGE_SIZE)
  if (zeroPages !== undefined && zeroPages.value > Math.ceil(memoryPages)) {
    throw argumentError(
      `${name}.memory.zeroPages: ${zeroPages.value} pages are more than all memory`,
      `The memory has ${Math.ceil(memoryPages)} pages.`,
    )
  }
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
    regions: checkedRegions(
      parseRegions(document.regions, count, pageSize ?? PAGE_SIZE, `${name}.regions`),
      points,
      memoryBytes === undefined ? undefined : memoryBytes / (pageSize ?? PAGE_SIZE),
      `${name}.regions`,
    ),
    granularities: parseGranularities(
      document.granularities,
      count,
      pageSize ?? PAGE_SIZE,
      `${name}.granularities`,
    ),
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
  const { confidence } = point.interval
  const low = bound(point.interval.low, 'low')
  const high = point.interval.high === null ? null : bound(point.interval.high, 'high')
  if (low > rate * (1 + ROUNDING) || (high !== null && high < rate * (1 - ROUNDING))) {
    throw argumentError(
      `${name}.interval: the rate of ${rate} is not between its bounds, ${low} and ${high}`,
      'Give a rate between the bounds of its interval, in bytes per second.',
    )
  }
  // The bounds are those of the rate, whose windows may be those of the blocks.
  const ofRate = (value: number): number =>
    rate > 0 && pages > 0 ? (pages * value) / rate : (value * seconds) / pageSize
  return {
    seconds,
    pages,
    low: Math.min(ofRate(low), pages),
    high: high === null ? Number.POSITIVE_INFINITY : Math.max(ofRate(high), pages),
    confidence: numberOf(confidence, `${name}.interval.confidence`, { low: 0.01, high: 1 }),
  }
}

function parseRegions(
  given: unknown,
  points: number,
  pageSize: number,
  name: string,
): InputRegion[] {
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
    const block = optional(region.block, name => textOf(name, `${of}.block`)) ?? ''
    return { block, memoryPages: most, pages: columnOf(region.pages, `${of}.pages`, points, most) }
  })
}

/** `regions`, unless they contradict the points or the memory. */
function checkedRegions(
  regions: CurveInput['regions'],
  points: readonly InputPoint[],
  memoryPages: number | undefined,
  name: string,
): CurveInput['regions'] {
  if (regions.length === 0) return regions
  const all = regions.reduce((sum, region) => sum + region.memoryPages, 0)
  if (memoryPages !== undefined && all > memoryPages * REGIONS_MEMORY) {
    throw argumentError(
      `${name}: they have ${all} pages, more than all memory`,
      `The memory has ${Math.ceil(memoryPages)} pages.`,
    )
  }
  points.forEach(({ pages, low, high }, at) => {
    const dirty = regions.reduce((sum, region) => sum + (region.pages[at] ?? 0), 0)
    const [least, most] = [
      Math.min(low, pages / REGIONS_FACTOR),
      Math.max(high, pages * REGIONS_FACTOR),
    ]
    // One page of a small number is much.
    if (dirty >= least - regions.length && dirty <= most + regions.length) return
    throw argumentError(
      `${name}: at point ${at} they add up to ${dirty} dirty pages, and the point has ${pages}`,
      'Give the regions of the same measurement, or leave them out.',
    )
  })
  return regions
}

function parseGranularities(
  given: unknown,
  points: number,
  pageSize: number,
  name: string,
): CurveGranularity[] {
  const list =
    optional(given, value => arrayOf<CurveGranularity>(value, name, 0, MOST_GRANULARITIES)) ?? []
  return list.map((one, at) => {
    const of = `${name}[${at}]`
    parseObject(one, of, '{ granuleBytes, dirtyGranules, extents }')
    const granuleBytes = numberOf(one.granuleBytes, `${of}.granuleBytes`, {
      low: 512,
      high: 2 ** 40,
      whole: true,
    })
    const isTwice = list.findIndex(other => other?.granuleBytes === granuleBytes) < at
    if (granuleBytes % pageSize !== 0 || isTwice) {
      throw argumentError(
        `${of}.granuleBytes: ${granuleBytes} ${isTwice ? 'is there twice' : 'is no multiple of the page'}`,
        `Give each multiple of ${pageSize} once.`,
      )
    }
    const dirtyGranules = columnOf(one.dirtyGranules, `${of}.dirtyGranules`, points, MOST_BYTES)
    const extents = columnOf(one.extents, `${of}.extents`, points, MOST_BYTES)
    extents.forEach((count, place) => {
      const most = dirtyGranules[place] ?? 0
      if (count > most) {
        throw argumentError(
          `${of}.extents[${place}]: ${count} extents are more than their ${most} dirty granules`,
          'An extent has one granule or more.',
        )
      }
    })
    return { granuleBytes, dirtyGranules, extents }
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
  const phases = arrayOf<{ rounds: number; bytesPerSecond: (number | null)[] }>(
    given.phases ?? [],
    `${name}.phases`,
    0,
    MOST_PHASES,
  ).map((phase, at) => ({
    rounds: numberOf(phase?.rounds, `${name}.phases[${at}].rounds`, { low: 1, high: 1e9 }),
    bytesPerSecond: ratesOf(phase.bytesPerSecond, `${name}.phases[${at}].bytesPerSecond`, points),
  }))
  return { stationary: given.stationary, phases }
}

/** The mean rates of a phase. A window of which no round is whole has none: null. */
function ratesOf(given: unknown, name: string, points: number): readonly (number | null)[] {
  return arrayOf<unknown>(given, name, points, points).map((rate, at) =>
    rate === null ? null : numberOf(rate, `${name}[${at}]`, { high: MOST_RATE }),
  )
}
