/** The series of one target: what its rounds have found, as samples. */

import { performance } from 'node:perf_hooks'
import { codeOf, isErrorCode } from '../ground/errors.js'
import type { DirtyRateCurve } from '../results/curve.js'
import type { Figures, Frame, Interval } from '../results/measurement.js'
import type { TargetDescription } from '../targets/target.js'
import type { MetricName, Sample } from './families.js'
import { labelOf } from './labels.js'
import type { Link } from './links.js'
import { predictionSamples } from './predictions.js'

const NS_PER_SECOND = 1e9
const MS_PER_SECOND = 1000
/** vCPUs from this number on have no series of their own, so that a large VM cannot make many. */
const MOST_VCPUS = 512
const STEPS = ['start', 'sync', 'harvest', 'reap', 'hash'] as const
const PHASES = ['before', 'during', 'after'] as const
const ACTIVITIES = [
  ['dirtyrate_guest_exits_per_second', 'exitsPerSecond'],
  ['dirtyrate_guest_page_faults_per_second', 'pageFaultsPerSecond'],
  ['dirtyrate_guest_tlb_flushes_per_second', 'tlbFlushesPerSecond'],
] as const

/** A series of a group: its key is its name with its labels. */
type Group = Map<string, Sample>

export class TargetSeries {
  readonly #target: string
  #name: string
  #links: readonly Link[]
  /** When the last round began, by a clock that nobody sets. */
  #begunAt: number | undefined
  /** Counters, and what is known for as long as the target is served. */
  readonly #lasting: Group = new Map()
  /** What the last round has said about the VM. */
  #description: Group = new Map()
  /** The last window. */
  #window: Group = new Map()
  /** The last curve, with its predictions. */
  #curve: Group = new Map()
  #memoryBytes: number | undefined

  /** `target` is the label, which no other target has, and `name` that of the VM. */
  constructor(target: string, links: readonly Link[], name = '') {
    this.#target = target
    this.#name = labelOf(name)
    this.#links = links
    for (const result of ['complete', 'incomplete', 'failed'])
      this.#count('dirtyrate_measurements_total', { result }, 0)
    this.#count('dirtyrate_dirty_bytes_total', {}, 0)
    this.#count('dirtyrate_measured_seconds_total', {}, 0)
  }

  /** Every sample of the target. */
  *samples(): Generator<Sample, void, undefined> {
    for (const group of [this.#lasting, this.#description, this.#window, this.#curve])
      yield* group.values()
  }

  /**
   * From the next curve on, migrations over these links are predicted, and from the next window on
   * the VM has this name.
   */
  change(links: readonly Link[], name = ''): void {
    this.#links = links
    this.#name = labelOf(name)
  }

  /** What the target says about itself, at the beginning of a round. */
  described({ memoryBytes, vcpus, migration }: TargetDescription): void {
    const group: Group = new Map()
    const now = performance.now()
    const periodMs = this.#begunAt === undefined ? undefined : now - this.#begunAt
    this.#begunAt = now
    this.#set(group, 'dirtyrate_target_period_seconds', {}, seconds(periodMs))
    this.#memoryBytes = memoryBytes
    this.#set(group, 'dirtyrate_memory_bytes', {}, memoryBytes)
    this.#set(group, 'dirtyrate_vcpus', {}, vcpus)
    if (migration !== undefined) {
      const { underWay, pageSize } = migration
      this.#set(group, 'dirtyrate_migration_active', {}, Number(underWay))
      if (underWay) {
        const { dirtyPagesPerSecond } = migration
        const figures = [
          ['dirtyrate_migration_elapsed_seconds', seconds(migration.elapsedMs)],
          ['dirtyrate_migration_data_processed_bytes', migration.transferredBytes],
          ['dirtyrate_migration_data_remaining_bytes', migration.remainingBytes],
          [
            'dirtyrate_migration_dirty_memory_rate_bytes_per_second',
            product(dirtyPagesPerSecond, pageSize),
          ],
          ['dirtyrate_migration_passes', migration.passes],
          ['dirtyrate_migration_expected_downtime_seconds', seconds(migration.expectedDowntimeMs)],
        ] as const
        for (const [name, value] of figures) this.#set(group, name, {}, value)
      }
    }
    this.#description = group
  }

  /** The VM migrates, so that this round has measured nothing. */
  followed(): void {
    this.#dropFigures()
    this.#set(this.#lasting, 'dirtyrate_target_up', {}, 1)
  }

  /** A window was measured. It ended at `endedAt`, in ms since the Epoch. */
  measured(result: Frame & Figures, software: string | undefined, endedAt: number): void {
    const { mode, bytesPerSecond, interval, complete, pages, pageSize, cost, truth } = result
    const measuredSeconds = result.window.ns / NS_PER_SECOND
    const group: Group = new Map()
    this.#set(this.#lasting, 'dirtyrate_target_up', {}, 1)
    const info = { name: this.#name, mode, software: labelOf(software ?? '') }
    this.#set(group, 'dirtyrate_target_info', info, 1)
    this.#count('dirtyrate_measured_seconds_total', {}, measuredSeconds)
    this.#count(
      'dirtyrate_dirty_bytes_total',
      {},
      product(pages, pageSize) ?? bytesPerSecond * measuredSeconds,
    )
    this.#finished(result)
    this.#set(group, 'dirtyrate_dirty_rate_bytes_per_second', {}, bytesPerSecond)
    this.#bounds(group, 'dirtyrate_dirty_rate_bound_bytes_per_second', {}, interval)
    this.#set(group, 'dirtyrate_dirty_rate_confidence_ratio', {}, interval.confidence)
    this.#set(group, 'dirtyrate_dirty_rate_complete', {}, Number(complete))
    this.#set(group, 'dirtyrate_dirty_rate_window_seconds', {}, measuredSeconds)
    this.#set(
      this.#lasting,
      'dirtyrate_last_measurement_timestamp_seconds',
      {},
      endedAt / MS_PER_SECOND,
    )
    if ('vcpus' in result) {
      for (const { id, bytesPerSecond: rate } of result.vcpus) {
        if (id >= MOST_VCPUS) continue
        const vcpu = { vcpu: String(id) }
        this.#set(group, 'dirtyrate_vcpu_dirty_rate_bytes_per_second', vcpu, rate)
        this.#count('dirtyrate_vcpu_dirty_bytes_total', vcpu, rate * measuredSeconds)
      }
    }
    for (const step of STEPS) {
      const ns = cost?.[`${step}Ns`]
      if (ns !== undefined)
        this.#count('dirtyrate_cost_seconds_total', { step }, ns / NS_PER_SECOND)
    }
    const { longestLockNs, guest } = cost ?? {}
    this.#set(group, 'dirtyrate_longest_lock_seconds', {}, ratio(longestLockNs, NS_PER_SECOND))
    for (const phase of PHASES) {
      for (const [name, key] of ACTIVITIES) this.#set(group, name, { phase }, guest?.[phase]?.[key])
    }
    if (truth !== undefined && pageSize !== undefined) {
      for (const bound of ['low', 'high'] as const)
        this.#count('dirtyrate_truth_bytes_total', { bound }, truth[bound] * pageSize)
    }
    this.#window = group
  }

  /**
   * A curve was measured. It ended at `endedAt`, in ms since the Epoch. Resolves when the
   * migrations are predicted.
   */
  async curveMeasured(curve: DirtyRateCurve, endedAt: number): Promise<void> {
    const group: Group = new Map()
    this.#finished(curve)
    for (const point of curve.points) {
      const window = { window: String(point.requestedMs / MS_PER_SECOND) }
      const name = 'dirtyrate_curve_dirty_rate_bytes_per_second'
      this.#set(group, name, window, point.bytesPerSecond)
      const bounds = 'dirtyrate_curve_dirty_rate_bound_bytes_per_second'
      this.#bounds(group, bounds, window, point.interval)
      this.#set(group, 'dirtyrate_curve_window_seconds', window, point.windowNs / NS_PER_SECOND)
      const dirty = product(point.pages, curve.pageSize)
      this.#set(group, 'dirtyrate_curve_dirty_bytes', window, dirty)
    }
    const confidence = curve.points[0]?.interval.confidence
    this.#set(group, 'dirtyrate_curve_confidence_ratio', {}, confidence)
    this.#set(group, 'dirtyrate_curve_complete', {}, Number(curve.complete))
    this.#set(group, 'dirtyrate_curve_timestamp_seconds', {}, endedAt / MS_PER_SECOND)
    this.#set(group, 'dirtyrate_curve_page_size_bytes', {}, curve.pageSize)
    this.#memory(group, curve)
    this.#curve = group
    try {
      const samples = await predictionSamples(curve, this.#memoryBytes, this.#links)
      for (const { name, labels, value } of samples) this.#set(group, name, labels, value)
    } catch (error) {
      this.#failedWith(error)
    }
  }

  /** What the curve says about the memory as a whole. */
  #memory(group: Group, { memory, pageSize }: DirtyRateCurve): void {
    const { zeroPages, compressedRatio, compressionBytesPerSecond } = memory ?? {}
    this.#set(group, 'dirtyrate_curve_memory_bytes', {}, memory?.bytes ?? this.#memoryBytes)
    for (const bound of ['value', 'low', 'high'] as const) {
      const zeros = product(zeroPages?.[bound], pageSize)
      this.#set(group, 'dirtyrate_curve_zero_bytes', { bound }, zeros)
      this.#set(group, 'dirtyrate_curve_compressed_ratio', { bound }, compressedRatio?.[bound])
    }
    this.#set(group, 'dirtyrate_curve_compression_bytes_per_second', {}, compressionBytesPerSecond)
  }

  /** A curve could not be measured. The rounds go on. */
  curveFailed(error: unknown): void {
    this.#curve = new Map()
    this.#failedWith(error)
  }

  /** The round has failed. An old figure must not be taken for a new one. */
  failed(error: unknown): void {
    this.#dropFigures()
    this.#description = new Map()
    this.#set(this.#lasting, 'dirtyrate_target_up', {}, 0)
    this.#failedWith(error)
  }

  #failedWith(error: unknown): void {
    this.#count('dirtyrate_measurements_total', { result: 'failed' }, 1)
    const code = codeOf(error)
    this.#count('dirtyrate_errors_total', { code: isErrorCode(code) ? code : 'ERR_INTERNAL' }, 1)
  }

  #dropFigures(): void {
    this.#window = new Map()
    this.#curve = new Map()
  }

  #finished({ complete, warnings }: Pick<DirtyRateCurve, 'complete' | 'warnings'>): void {
    const result = complete ? 'complete' : 'incomplete'
    this.#count('dirtyrate_measurements_total', { result }, 1)
    for (const { code } of warnings) this.#count('dirtyrate_warnings_total', { code }, 1)
  }

  #bounds(group: Group, name: MetricName, labels: Sample['labels'], { low, high }: Interval): void {
    this.#set(group, name, { ...labels, bound: 'low' }, low)
    this.#set(group, name, { ...labels, bound: 'high' }, high ?? Number.POSITIVE_INFINITY)
  }

  /** Sets a gauge. Nothing is set that is not known. */
  #set(group: Group, name: MetricName, labels: Sample['labels'], value: number | undefined): void {
    if (value === undefined) return
    const all = { target: this.#target, ...labels }
    group.set(JSON.stringify([name, all]), { name, labels: all, value })
  }

  #count(name: MetricName, labels: Sample['labels'], by: number): void {
    const all = { target: this.#target, ...labels }
    const key = JSON.stringify([name, all])
    const value = (this.#lasting.get(key)?.value ?? 0) + by
    this.#lasting.set(key, { name, labels: all, value })
  }
}

const ratio = (value: number | undefined, by: number): number | undefined =>
  value === undefined ? undefined : value / by
const seconds = (ms: number | undefined): number | undefined => ratio(ms, MS_PER_SECOND)
const product = (one: number | undefined, other: number | undefined): number | undefined =>
  one === undefined || other === undefined ? undefined : one * other
