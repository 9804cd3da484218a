/** Predicts the next incremental snapshot from a curve: its size, its extents, its pause. */

import { type OptionNames, parseOptions } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { type Duration, parseRate, parseSize, type Rate, type Size } from '../ground/units.js'
import { fewerPoints } from './coarse.js'
import type { CurveInput } from './curve-input.js'
import { type Figure, figureOf } from './figure.js'
import { Growth, type GrowthPoint } from './growth.js'
import { type PredictionCurve, parseCurve } from './input.js'
import { type Model, modelOf } from './model.js'
import { fastEnough, memoryOf, type Naming, secondsOf } from './options.js'
import type { PublishedCurve } from './published-curve.js'
import { tailOf } from './tail.js'

/** How snapshots are taken. */
export interface SnapshotOptions {
  /** The time between two snapshots: `'5min'`. */
  interval: Duration
  /** The unit that is stored, one of those that were measured. Default: the page. */
  granularity?: Size | undefined
  /** How fast a snapshot is written. */
  bandwidth: Rate
  /** The memory of the VM, if the curve does not know it. */
  memory?: Size | undefined
  /**
   * What each extent costs in addition to its contents: an entry of an index, a seek. Default: 4
   * KiB.
   */
  extentBytes?: Size | undefined
}

/** One choice of an interval and a granularity, and what it costs. */
export interface SnapshotChoice {
  readonly intervalMs: number
  readonly granuleBytes: number
  readonly bytes: Figure
  /** Absent if the curve has no extents. */
  readonly extents?: Figure
  /** What is written in each second, with what the extents cost. */
  readonly costBytesPerSecond: number
}

/** What the next incremental snapshot will be. */
export interface SnapshotPrediction extends SnapshotChoice {
  /** How many times the dirty pages are stored, because granules are larger than pages. */
  readonly writeAmplification: Figure
  /**
   * How long it takes to write, and so how long the guest stands still if it is not copied before.
   */
  readonly pauseMs: Figure
  /** Of the intervals and granularities up to this interval, the one that costs least. */
  readonly best: SnapshotChoice
}

const NAMES: OptionNames<SnapshotOptions> = {
  interval: true,
  granularity: true,
  bandwidth: true,
  memory: true,
  extentBytes: true,
}

const EXTENT_BYTES = 4096
/** A window that is longer than the last one by no more than this part counts as measured. */
const AS_MEASURED = 0.01
/** Intervals that are tried in addition to the windows: parts of the one that is asked for. */
const PARTS = [1, 1 / 2, 1 / 4, 1 / 8]

/** The curves of one granularity, in granules. */
interface Granularity {
  readonly granuleBytes: number
  readonly granules: Growth
  /** At each window. Their number may fall, because runs grow together. */
  readonly extents: readonly GrowthPoint[] | undefined
}

/**
 * Predicts the next incremental snapshot of a VM whose dirty pages grow as `curve` says. Throws
 * ERR_ARGUMENT for a curve or an option that cannot be used.
 *
 * @example
 * ```ts
 * import { predictSnapshot } from 'dirtyrate/prediction'
 *
 * const bytesPerSecond = 10e6
 * const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
 * const curve = {
 *   points: [{ windowNs: 60e9, bytesPerSecond, interval }],
 *   memory: { bytes: 4 * 2 ** 30 },
 * }
 * const { bytes } = predictSnapshot(curve, { interval: '1min', bandwidth: '1GB/s' })
 * console.log(Math.round((bytes.value ?? 0) / 1e6)) // 600
 * ```
 */
export function predictSnapshot(
  curve: PredictionCurve | PublishedCurve,
  options: SnapshotOptions,
): SnapshotPrediction {
  return predictSnapshotOf(parseCurve(curve), options)
}

/** The same, of a curve that is checked already. An error names an option as `named` does. */
export function predictSnapshotOf(
  input: CurveInput,
  options: SnapshotOptions,
  named: Naming<SnapshotOptions> = option => option,
): SnapshotPrediction {
  parseOptions(options, NAMES, 'options', "{ interval: '5min', bandwidth: '1GB/s' }")
  const seconds = secondsOf(options.interval, named('interval'), 1)
  const bandwidth = fastEnough(
    parseRate(options.bandwidth, named('bandwidth')),
    options.bandwidth,
    named('bandwidth'),
  )
  const extentBytes = parseSize(options.extentBytes ?? EXTENT_BYTES, named('extentBytes'))
  const memory =
    options.memory === undefined ? undefined : memoryOf(options.memory, named('memory'))
  const model = modelOf(input, memory, false)
  const all = granularitiesOf(input, model)
  const granuleBytes =
    options.granularity === undefined
      ? model.pageSize
      : parseSize(options.granularity, named('granularity'))
  const wanted = all.find(one => one.granuleBytes === granuleBytes)
  if (wanted === undefined) {
    throw argumentError(
      `${named('granularity')}: the curve was not measured in units of ${granuleBytes} bytes`,
      `Measured: ${all.map(one => one.granuleBytes).join(', ')}.`,
    )
  }
  const choice = choiceOf(model, wanted, seconds, extentBytes)
  const times = [
    ...PARTS.map(part => seconds * part),
    ...fewerPoints(input)
      .points.map(point => point.seconds)
      .filter(window => window < seconds),
  ]
  const choices = all.flatMap(one => times.map(time => choiceOf(model, one, time, extentBytes)))
  const best = choices.reduce((a, b) => (b.costBytesPerSecond < a.costBytesPerSecond ? b : a))
  const pages = model.value.total.at(seconds) * model.pageSize
  return {
    ...choice,
    writeAmplification: figureOf(pages > 0 ? (choice.bytes.value ?? 0) / pages : 1, []),
    pauseMs: figureOf(((choice.bytes.value ?? 0) / bandwidth) * 1000, [
      ((choice.bytes.low ?? 0) / bandwidth) * 1000,
      ((choice.bytes.high ?? 0) / bandwidth) * 1000,
    ]),
    best,
  }
}

/** The page, and each granularity that was measured, the smallest first. */
function granularitiesOf({ granularities, points }: CurveInput, model: Model): Granularity[] {
  const column = (counts: readonly number[]): GrowthPoint[] =>
    points.map(({ seconds }, at) => [seconds, counts[at] ?? 0])
  const memory = model.memoryPages * model.pageSize
  const measured = granularities.map(({ granuleBytes, dirtyGranules, extents }) => {
    const granules = column(dirtyGranules)
    // Larger granules are all dirty sooner than pages, so each granularity has a tail of its own.
    const tail = tailOf(granules, Math.ceil(memory / granuleBytes))
    return {
      granuleBytes,
      granules: new Growth([...granules, ...tail]),
      extents: column(extents),
    }
  })
  const page = measured.find(({ granuleBytes }) => granuleBytes === model.pageSize)
  const pages = {
    granuleBytes: model.pageSize,
    granules: model.value.total,
    extents: page?.extents,
  }
  return [pages, ...measured.filter(one => one !== page)].sort(
    (a, b) => a.granuleBytes - b.granuleBytes,
  )
}

function choiceOf(
  model: Model,
  { granuleBytes, granules, extents }: Granularity,
  seconds: number,
  extentBytes: number,
): SnapshotChoice {
  const pages = (growth: Growth): number => growth.at(seconds) * model.pageSize
  const [value, low, high] = [model.value, model.low, model.high].map(({ total }) => pages(total))
  const middle = value ?? 0
  const memory = model.memoryPages * model.pageSize
  // The granules have all dirty pages in them.
  const bytes =
    granuleBytes === model.pageSize
      ? middle
      : Math.min(Math.max(granules.at(seconds) * granuleBytes, middle), memory)
  const part = (bound: number | undefined): number => (middle > 0 ? (bound ?? 0) / middle : 1)
  const figure = figureOf(bytes, [
    Math.min(bytes * part(low), memory),
    Math.min(bytes * part(high), memory),
  ])
  const count = extents && extentsAt(extents, granules, seconds)
  return {
    intervalMs: seconds * 1000,
    granuleBytes,
    bytes: figure,
    ...(count === undefined ? {} : { extents: count }),
    costBytesPerSecond: (bytes + (count?.value ?? 0) * extentBytes) / seconds,
  }
}

/**
 * The extents of a window. Behind the last one they grow as the granules do, and may be anything
 * from one run of all granules to a run for each of them.
 */
function extentsAt(extents: readonly GrowthPoint[], granules: Growth, seconds: number): Figure {
  const [last = 0, ofLast = 0] = extents.at(-1) ?? []
  if (seconds > last * (1 + AS_MEASURED)) {
    const most = granules.at(seconds)
    const value = Math.min((ofLast * most) / Math.max(granules.at(last), 1), most)
    return figureOf(value, [Math.min(value, 1), most])
  }
  const after = extents.findIndex(([t]) => t >= seconds)
  const [toT, to] = extents[after] ?? [last, ofLast]
  const [fromT, from] = extents[after - 1] ?? [0, 0]
  const value = seconds >= toT ? to : from + ((to - from) * (seconds - fromT)) / (toT - fromT)
  return figureOf(value, [])
}
