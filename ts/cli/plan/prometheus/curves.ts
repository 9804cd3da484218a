/** Curves from the series that `dirtyrate serve` exports: what each VM of a host has, or lacks. */

import { isError } from '../../../ground/errors.js'
import type { MetricName } from '../../../metrics/families.js'
import type { CurveInput } from '../../../prediction/curve-input.js'
import { type PredictionCurve, parseCurve } from '../../../prediction/input.js'
import { modelOf } from '../../../prediction/model.js'
import { duration } from '../../../prediction/words.js'
import { failure, type Series } from './client.js'

/** A VM whose curve is known. */
export interface KnownVm {
  /** The label `target`. */
  readonly target: string
  readonly input: CurveInput
  readonly ageMs: number
}

/** A VM that no plan can be made for, and why. */
export interface UnknownVm {
  readonly target: string
  readonly reason: string
}

export interface Curves {
  readonly known: readonly KnownVm[]
  readonly unknown: readonly UnknownVm[]
}

export interface CurvesOptions {
  /** The time of the query, in seconds since the Epoch. */
  readonly atSeconds: number
  /** Older curves are not used. */
  readonly mostAgeMs: number
  /** The memory of a VM whose series do not say it. */
  readonly memoryBytes: number | undefined
}

/** The series that a curve is made of. */
const METRICS = {
  up: 'dirtyrate_target_up',
  active: 'dirtyrate_migration_active',
  rate: 'dirtyrate_curve_dirty_rate_bytes_per_second',
  bound: 'dirtyrate_curve_dirty_rate_bound_bytes_per_second',
  seconds: 'dirtyrate_curve_window_seconds',
  dirty: 'dirtyrate_curve_dirty_bytes',
  confidence: 'dirtyrate_curve_confidence_ratio',
  complete: 'dirtyrate_curve_complete',
  timestamp: 'dirtyrate_curve_timestamp_seconds',
  pageSize: 'dirtyrate_curve_page_size_bytes',
  memory: 'dirtyrate_curve_memory_bytes',
  zeros: 'dirtyrate_curve_zero_bytes',
  ratio: 'dirtyrate_curve_compressed_ratio',
  compression: 'dirtyrate_curve_compression_bytes_per_second',
  sweeps: 'dirtyrate_curve_may_sweep',
} as const satisfies Record<string, MetricName>

/** What is asked for. */
export const METRIC_NAMES: string = Object.values(METRICS).join('|')

/** The labels that tell the series of one VM from each other. All others are those of the VM. */
const INNER = ['__name__', 'window', 'bound']
/** The clocks of the host and of Prometheus may differ by so much. */
const MOST_SKEW_MS = 60_000
const MS = 1000
const NS = 1e9

/** The curves in the series of one host. Throws ERR_PROMETHEUS if a VM is there twice. */
export function curvesOf(series: readonly Series[], options: CurvesOptions): Curves {
  const known: KnownVm[] = []
  const unknown: UnknownVm[] = []
  for (const [target, of] of byTarget(series)) {
    try {
      known.push(knownVm(target, new Values(of), options))
    } catch (error) {
      if (error instanceof Lacking) unknown.push({ target, reason: error.message })
      else throw error
    }
  }
  return { known, unknown }
}

function byTarget(series: readonly Series[]): Map<string, Series[]> {
  const found = new Map<string, { outer: string; series: Series[] }>()
  for (const one of series) {
    const { target } = one.labels
    if (target === undefined) continue
    const labels = Object.entries(one.labels).filter(([label]) => !INNER.includes(label))
    const outer = labels
      .map(([label, value]) => `${label}="${value}"`)
      .sort()
      .join(', ')
    const known = found.get(target) ?? { outer, series: [] }
    if (known.outer !== outer) {
      throw failure(
        `'${target}' is there twice: {${known.outer}} and {${outer}}`,
        'Choose one of them with --match.',
      )
    }
    known.series.push(one)
    found.set(target, known)
  }
  return new Map(
    [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([target, { series: of }]) => [target, of]),
  )
}

/** Why no curve can be made: a sentence for people. */
class Lacking extends Error {}

/** The series of one VM. */
class Values {
  readonly #values = new Map<string, number>()
  readonly windows: readonly string[]

  constructor(series: readonly Series[]) {
    const windows = new Set<string>()
    for (const { labels, value } of series) {
      const { __name__: name = '', window, bound } = labels
      this.#values.set(keyOf(name, window, bound), value)
      if (window !== undefined && name === METRICS.rate) windows.add(window)
    }
    this.windows = [...windows]
  }

  find(metric: keyof typeof METRICS, window?: string, bound?: string): number | undefined {
    return this.#values.get(keyOf(METRICS[metric], window, bound))
  }

  need(metric: keyof typeof METRICS, window?: string, bound?: string): number {
    const value = this.find(metric, window, bound)
    if (value !== undefined) return value
    const labels = [
      ...(window === undefined ? [] : [`window="${window}"`]),
      ...(bound === undefined ? [] : [`bound="${bound}"`]),
    ].join(', ')
    throw new Lacking(`The series ${METRICS[metric]}${labels && `{${labels}}`} is missing.`)
  }

  /** A number with its bounds. */
  bounded(
    metric: keyof typeof METRICS,
    unit = 1,
  ): { value: number; low: number; high: number } | undefined {
    if (this.find(metric, undefined, 'value') === undefined) return undefined
    const of = (bound: string): number => this.need(metric, undefined, bound) / unit
    return { value: of('value'), low: of('low'), high: of('high') }
  }
}

const keyOf = (name: string, window = '', bound = ''): string => `${name} ${window} ${bound}`

function knownVm(target: string, values: Values, options: CurvesOptions): KnownVm {
  const ageMs = freshOf(values, options)
  const pageSize = values.find('pageSize')
  const memory = values.find('memory') ?? options.memoryBytes
  if (memory === undefined)
    throw new Lacking(`The series ${METRICS.memory} is missing: give the memory with --memory.`)
  const zeroPages = pageSize === undefined ? undefined : values.bounded('zeros', pageSize)
  const compressedRatio = values.bounded('ratio')
  const compressionBytesPerSecond = values.find('compression')
  const curve: PredictionCurve = {
    pageSize,
    points: pointsOf(values, pageSize),
    memory: {
      bytes: memory,
      ...(zeroPages === undefined ? {} : { zeroPages }),
      ...(compressedRatio === undefined ? {} : { compressedRatio }),
      ...(compressionBytesPerSecond === undefined ? {} : { compressionBytesPerSecond }),
    },
    complete: values.need('complete') === 1,
  }
  const sweeps = values.find('sweeps')
  try {
    const input = {
      ...parseCurve(curve, 'the curve'),
      ...(sweeps === undefined ? {} : { maySweep: sweeps !== 0 }),
    }
    // What contradicts itself is found here, and not while all VMs are planned.
    modelOf(input, undefined, false)
    return { target, input, ageMs }
  } catch (error) {
    throw new Lacking(`Its curve cannot be used: ${isError(error) ? error.message : error}.`)
  }
}

function freshOf(values: Values, { atSeconds, mostAgeMs }: CurvesOptions): number {
  if (values.find('active') === 1) throw new Lacking('It migrates now.')
  if (values.windows.length === 0) {
    throw new Lacking(
      values.find('up') === 0
        ? 'It has no curve, because its last measurement failed: dirtyrate_errors_total says why.'
        : 'It has no curve: serve measures the first one after its first window, unless --curve-every is never.',
    )
  }
  const ageMs = (atSeconds - values.need('timestamp')) * MS
  if (!(ageMs <= mostAgeMs)) {
    throw new Lacking(
      `Its curve is ${duration(ageMs)} old, and --max-age allows ${duration(mostAgeMs)}.`,
    )
  }
  if (ageMs < -MOST_SKEW_MS) {
    throw new Lacking(
      `Its curve is ${duration(-ageMs)} newer than the clock of Prometheus: set the clock of its host.`,
    )
  }
  return Math.max(ageMs, 0)
}

function pointsOf(values: Values, pageSize: number | undefined): PredictionCurve['points'] {
  const confidence = values.need('confidence')
  return values.windows
    .map(window => {
      const dirty = values.find('dirty', window)
      const high = values.need('bound', window, 'high')
      return {
        // What was seconds of nanoseconds is nanoseconds again.
        windowNs: Math.round(values.need('seconds', window) * NS),
        bytesPerSecond: values.need('rate', window),
        ...(dirty === undefined || pageSize === undefined ? {} : { pages: dirty / pageSize }),
        interval: {
          low: values.need('bound', window, 'low'),
          high: high === Number.POSITIVE_INFINITY ? null : high,
          confidence,
        },
      }
    })
    .sort((a, b) => a.windowNs - b.windowNs)
}
