/** What is exported: of a real VM, of results that are made up, and of hostile names. */

import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { DirtyRateError } from '../../ts/ground/errors.js'
import { openTarget } from '../../ts/index.js'
import { families } from '../../ts/metrics/families.js'
import { type Link, parseLinks } from '../../ts/metrics/links.js'
import { formatFor, Metrics } from '../../ts/metrics/metrics.js'
import { predictMigration } from '../../ts/prediction/index.js'
import type { DirtyRateCurve } from '../../ts/results/curve.js'
import type { Figures, Frame } from '../../ts/results/measurement.js'
import { Rounds } from '../../ts/server/rounds.js'
import { type Exported, samplesOf, valueIn } from '../fixtures/exposition.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY } from '../fixtures/machine.js'

const FRAME: Frame = { schemaVersion: 1, target: 'played:vm', startedAt: '2026-01-01T00:00:00Z' }
const ENDED_AT = 1_767_225_601_000

const RATES: Frame & Figures = {
  ...FRAME,
  mode: 'page-sampling',
  window: { requestedMs: 1000, ns: 1.5e9 },
  bytesPerSecond: 4096,
  interval: { low: 2048, high: null, confidence: 0.95 },
  sampling: { samplesPerGiB: 512 },
  complete: true,
  warnings: [],
}

/** A VM with a curve from which a link of 1 Gbit/s makes something else than one of 100. */
const CURVE = {
  ...FRAME,
  mode: 'dirty-bitmap',
  pageSize: 4096,
  points: [0.1, 1, 10].map(seconds => {
    const bytesPerSecond = 200e6 / seconds ** 0.2
    return {
      windowNs: seconds * 1.001e9,
      requestedMs: seconds * 1000,
      bytesPerSecond,
      interval: { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 },
    }
  }),
  memory: { bytes: 4 * 2 ** 30 },
  complete: true,
  warnings: [],
} satisfies DirtyRateCurve

const registered = (links: readonly Link[] = []): Metrics =>
  new Metrics({ version: '1.2.3', links })

async function exported(metrics: Metrics): Promise<Exported[]> {
  return samplesOf((await metrics.expose('text')).text)
}

/** The limits that docs/metrics.md names. */
const MOST_OF_TARGET = Object.values(families).filter(
  ({ labels }) => labels.join() === 'target',
).length
const MOST_OF_FEW = 28

describeKvm('the metrics of a virtual machine', () => {
  it('are what its measurements say, and what its guest counts', async () => {
    const uri = `guest:stride,pages=4000,rate=20MiB/s,memory=${MEMORY},log=ring,vcpus=2`
    const target = await openTarget(uri)
    onTestFinished(() => target.close())
    const results: (Frame & Figures)[] = []
    target.on('done', ({ result }) => {
      if ('window' in result) results.push(result)
    })
    const metrics = registered()
    const stop = new AbortController()
    const series = metrics.add(uri)
    const plan = { everyMs: 100, offsetMs: 0, measuring: { window: 60 } }
    const listener = Object.assign(Object.create(series), {
      described: series.described.bind(series),
      measured: (...args: Parameters<typeof series.measured>) => {
        series.measured(...args)
        if (results.length === 5) stop.abort()
      },
    })
    await new Rounds(async () => target, plan, listener).run(stop.signal)
    const samples = await exported(metrics)
    const value = (name: string, labels = {}): number =>
      valueIn(samples, name, labels) ?? Number.NaN
    const sum = (of: (result: Frame & Figures) => number): number =>
      results.reduce((all, result) => all + of(result), 0)

    expect(results).toHaveLength(5)
    const dirty = value('dirtyrate_dirty_bytes_total')
    expect(dirty).toBe(sum(({ pages = 0, pageSize = 0 }) => pages * pageSize))
    expect(value('dirtyrate_measured_seconds_total')).toBeCloseTo(
      sum(({ window }) => window.ns / 1e9),
      9,
    )
    // The guest is the oracle: it has written at least and at most so much.
    const [low, high] = ['low', 'high'].map(bound =>
      value('dirtyrate_truth_bytes_total', { bound }),
    )
    expect(low).toBeGreaterThan(0)
    expect(dirty).toBeGreaterThanOrEqual(low as number)
    expect(dirty).toBeLessThanOrEqual(high as number)

    const last = results.at(-1)
    expect(value('dirtyrate_dirty_rate_bytes_per_second')).toBe(last?.bytesPerSecond)
    for (const vcpu of last?.mode === 'dirty-ring' ? last.vcpus : []) {
      const labels = { vcpu: String(vcpu.id) }
      expect(value('dirtyrate_vcpu_dirty_rate_bytes_per_second', labels)).toBe(vcpu.bytesPerSecond)
    }
    expect(value('dirtyrate_target_info', { mode: 'dirty-ring' })).toBe(1)
    expect(value('dirtyrate_vcpus')).toBe(2)
    expect(value('dirtyrate_target_up')).toBe(1)
    expect(value('dirtyrate_measurements_total', { result: 'complete' })).toBe(5)
    expect(value('dirtyrate_cost_seconds_total', { step: 'start' })).toBeCloseTo(
      sum(({ cost }) => (cost?.startNs ?? 0) / 1e9),
      9,
    )
  })
})

describe('a rate', () => {
  it('has its interval, and counts as bytes also where pages are not known', async () => {
    const metrics = registered()
    metrics.add('a').measured(RATES, 'QEMU 10.0.2', ENDED_AT)
    const samples = await exported(metrics)
    const value = (name: string, labels = {}): number | undefined => valueIn(samples, name, labels)
    expect(value('dirtyrate_dirty_bytes_total')).toBe(6144)
    expect(value('dirtyrate_measured_seconds_total')).toBe(1.5)
    const bound = 'dirtyrate_dirty_rate_bound_bytes_per_second'
    expect(value(bound, { bound: 'low' })).toBe(2048)
    expect(value(bound, { bound: 'high' })).toBe(Number.POSITIVE_INFINITY)
    expect(value('dirtyrate_dirty_rate_confidence_ratio')).toBe(0.95)
    expect(value('dirtyrate_last_measurement_timestamp_seconds')).toBe(ENDED_AT / 1000)
    expect(value('dirtyrate_target_info', { software: 'QEMU 10.0.2' })).toBe(1)
  })

  it('that is a lower bound is marked and counted, with its warnings', async () => {
    const metrics = registered()
    const series = metrics.add('a')
    const warnings = [{ code: 'PAGES_UNJUDGED' as const, message: 'played' }]
    series.measured({ ...RATES, complete: false, warnings }, undefined, ENDED_AT)
    series.measured(RATES, undefined, ENDED_AT)
    const samples = await exported(metrics)
    const counted = (result: string): number | undefined =>
      valueIn(samples, 'dirtyrate_measurements_total', { result })
    expect([counted('complete'), counted('incomplete'), counted('failed')]).toEqual([1, 1, 0])
    expect(valueIn(samples, 'dirtyrate_warnings_total', { code: 'PAGES_UNJUDGED' })).toBe(1)
    expect(valueIn(samples, 'dirtyrate_dirty_rate_complete')).toBe(1)
  })

  it('is not there when the target fails, but the counters are', async () => {
    const metrics = registered(parseLinks({ bandwidth: '1Gbit/s', downtime: '1s' }))
    const series = metrics.add('a')
    series.measured(RATES, undefined, ENDED_AT)
    await series.curveMeasured(CURVE, ENDED_AT)
    const before = await exported(metrics)
    expect(valueIn(before, 'dirtyrate_curve_complete')).toBe(1)
    series.failed(new DirtyRateError('ERR_TARGET_GONE', 'played'))
    const after = await exported(metrics)
    const names = new Set(after.map(({ name }) => name))
    expect([...names].filter(name => /_(dirty_rate|curve|prediction|guest)_/.test(name))).toEqual(
      [],
    )
    expect(valueIn(after, 'dirtyrate_target_up')).toBe(0)
    expect(valueIn(after, 'dirtyrate_dirty_bytes_total')).toBe(6144)
    expect(valueIn(after, 'dirtyrate_errors_total', { code: 'ERR_TARGET_GONE' })).toBe(1)
    expect(valueIn(after, 'dirtyrate_last_measurement_timestamp_seconds')).toBe(ENDED_AT / 1000)
  })

  it('of an error without a code of ours is counted as a defect', async () => {
    const metrics = registered()
    metrics.add('a').failed(Object.assign(new Error('played'), { code: 'E_VM_SAYS_"SO"' }))
    const samples = await exported(metrics)
    expect(valueIn(samples, 'dirtyrate_errors_total', { code: 'ERR_INTERNAL' })).toBe(1)
  })
})

describe('a migration', () => {
  const DESCRIPTION = { uri: 'a', memoryBytes: 2 ** 30, vcpus: 4, state: 'running', modes: [] }

  it('is followed, and is over when it is', async () => {
    const metrics = registered()
    const series = metrics.add('a')
    series.measured(RATES, undefined, ENDED_AT)
    const migration = {
      status: 'active',
      underWay: true,
      elapsedMs: 2500,
      remainingBytes: 7,
      transferredBytes: 8,
      passes: 3,
      dirtyPagesPerSecond: 10,
      pageSize: 4096,
      expectedDowntimeMs: 250,
    }
    series.described({ ...DESCRIPTION, migration })
    series.followed()
    const during = await exported(metrics)
    const figures = during.filter(({ name }) => name.startsWith('dirtyrate_migration_'))
    expect(Object.fromEntries(figures.map(({ name, value }) => [name, value]))).toEqual({
      dirtyrate_migration_active: 1,
      dirtyrate_migration_elapsed_seconds: 2.5,
      dirtyrate_migration_data_processed_bytes: 8,
      dirtyrate_migration_data_remaining_bytes: 7,
      dirtyrate_migration_dirty_memory_rate_bytes_per_second: 40_960,
      dirtyrate_migration_passes: 3,
      dirtyrate_migration_expected_downtime_seconds: 0.25,
    })
    // The VM is there, and its rate before the migration says nothing about now.
    expect(valueIn(during, 'dirtyrate_target_up')).toBe(1)
    expect(valueIn(during, 'dirtyrate_dirty_rate_bytes_per_second')).toBeUndefined()
    series.described({ ...DESCRIPTION, migration: { ...migration, underWay: false } })
    const after = (await exported(metrics)).filter(({ name }) => name.includes('migration'))
    expect(after.map(({ name, value }) => [name, value])).toEqual([
      ['dirtyrate_migration_active', 0],
    ])
  })

  it('is absent where the target cannot know', async () => {
    const metrics = registered()
    metrics.add('a').described(DESCRIPTION)
    const samples = await exported(metrics)
    expect(valueIn(samples, 'dirtyrate_migration_active')).toBeUndefined()
  })
})

describe('a curve', () => {
  it('has its points, and what the library predicts from it', async () => {
    const metrics = registered(parseLinks({ bandwidth: '1Gbit/s,100Gbit/s', downtime: '300ms,1s' }))
    await metrics.add('a').curveMeasured(CURVE, ENDED_AT)
    const samples = await exported(metrics)
    const value = (name: string, labels = {}): number | undefined => valueIn(samples, name, labels)
    for (const { requestedMs, windowNs, bytesPerSecond } of CURVE.points) {
      const window = { window: String(requestedMs / 1000) }
      expect(value('dirtyrate_curve_dirty_rate_bytes_per_second', window)).toBe(bytesPerSecond)
      expect(value('dirtyrate_curve_window_seconds', window)).toBe(windowNs / 1e9)
    }
    const known = new Set<string>()
    for (const bandwidth of ['1Gbit/s', '100Gbit/s']) {
      for (const downtime of ['300ms', '1s']) {
        const link = { bandwidth, downtime }
        const made = predictMigration(CURVE, link)
        known.add(made.verdict)
        const seconds = (ms: number | null): number => (ms ?? Number.POSITIVE_INFINITY) / 1000
        for (const verdict of ['converges', 'stalls', 'uncertain'])
          expect(value('dirtyrate_prediction_verdict', { ...link, verdict })).toBe(
            Number(verdict === made.verdict),
          )
        expect(value('dirtyrate_prediction_total_seconds', link)).toBe(seconds(made.totalMs.value))
        expect(
          value('dirtyrate_prediction_least_downtime_seconds', { bandwidth, bound: 'high' }),
        ).toBe(seconds(made.leastDowntimeMs.high))
        expect(
          samples
            .filter(({ name, labels }) => name.endsWith('_way_out') && matches(labels, link))
            .map(({ labels, value: ends }) => [labels.way, ends]),
        ).toEqual(made.waysOut.map(({ kind, verdict }) => [kind, Number(verdict === 'converges')]))
      }
    }
    // Otherwise one constant would pass.
    expect(known.size).toBeGreaterThan(1)
  })

  it('from which nothing can be predicted is a failure, and has its points all the same', async () => {
    const metrics = registered(parseLinks({ bandwidth: '1Gbit/s', downtime: '1s' }))
    const { memory, ...rest } = CURVE
    await metrics.add('a').curveMeasured({ ...rest, points: [...CURVE.points, ...CURVE.points] }, 0)
    const samples = await exported(metrics)
    expect(memory.bytes).toBeGreaterThan(0)
    expect(valueIn(samples, 'dirtyrate_errors_total')).toBe(1)
    expect(valueIn(samples, 'dirtyrate_curve_complete')).toBe(1)
    expect(valueIn(samples, 'dirtyrate_prediction_total_seconds')).toBeUndefined()
  })
})

const matches = (labels: Exported['labels'], link: Exported['labels']): boolean =>
  Object.entries(link).every(([name, value]) => labels[name] === value)

describe('what is exported', () => {
  it('is the same in both formats, and again', async () => {
    const metrics = registered()
    metrics.add('a').measured(RATES, undefined, ENDED_AT)
    const ofTarget = (text: string): Exported[] =>
      samplesOf(text).filter(({ name }) => !name.startsWith('process_'))
    const texts: string[] = []
    for (const format of ['text', 'openmetrics', 'text', 'openmetrics'] as const)
      texts.push((await metrics.expose(format)).text)
    const [first, ...others] = texts.map(ofTarget)
    for (const other of others) expect(other).toEqual(first)
    expect(texts[1]).toMatch(/\n# TYPE dirtyrate_dirty_bytes counter\n/)
    expect(texts[1]).toMatch(/\n# EOF\n$/)
    expect(texts[2]).toMatch(/\n# TYPE dirtyrate_dirty_bytes_total counter\n/)
  })

  it('leaves out what has no sample, and does not say 0 for it', async () => {
    const metrics = registered()
    metrics.add('a').measured(RATES, 'QEMU 10.0.2', ENDED_AT)
    const samples = [...metrics.samples()].map(({ name, labels }) => [name, labels])
    const asText = (await exported(metrics)).map(({ name, labels }) => [name, labels])
    expect(new Set(asText.map(one => JSON.stringify(one)))).toEqual(
      new Set(samples.map(one => JSON.stringify(one))),
    )
  })

  it('has the names of targets as they are, and of hostile ones nothing that is more', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            fc.string({ unit: 'binary' }),
            fc.constantFrom('"} 1\nevil 1', '\\', '\\"', '\\n', 'a="b",c="d"', '{}', '# EOF'),
          ),
          { minLength: 1, maxLength: 5 },
        ),
        async names => {
          const metrics = registered()
          for (const name of names) metrics.add(name).measured(RATES, name, ENDED_AT)
          for (const format of ['text', 'openmetrics'] as const) {
            const samples = samplesOf((await metrics.expose(format)).text)
            expect(samples.filter(({ name }) => !Object.hasOwn(families, name))).toEqual([])
            const targets = new Set(samples.flatMap(({ labels }) => labels.target ?? []))
            expect(targets.size).toBe(names.length)
          }
        },
      ),
      { numRuns: 50 },
    )
  })

  it('has no more series than the page says, whatever the VM says', async () => {
    const links = parseLinks({ bandwidth: '1Gbit/s,2Gbit/s', downtime: '1s' })
    const metrics = registered(links)
    const series = metrics.add('a')
    const activity = { exitsPerSecond: 1, pageFaultsPerSecond: 1, tlbFlushesPerSecond: 1 }
    for (const round of [1, 2, 3]) {
      series.measured(
        {
          ...FRAME,
          mode: 'dirty-ring',
          window: { requestedMs: 1, ns: 1 },
          bytesPerSecond: round,
          pages: 1,
          pageSize: 4096,
          interval: { low: 1, high: 1, confidence: 1 },
          vcpus: Array.from({ length: 9000 }, (_, at) => ({ id: at * round, bytesPerSecond: 1 })),
          cost: {
            ...{ startNs: 1, syncNs: 1, harvestNs: 1, reapNs: 1, hashNs: 1, longestLockNs: 1 },
            guest: { before: activity, during: activity, after: activity },
          },
          truth: { low: 1, pages: 1, high: 1 },
          complete: true,
          warnings: [],
        },
        `software ${round}`,
        ENDED_AT,
      )
    }
    const bounded = { value: 0.5, low: 0.4, high: 0.6 }
    const whole = {
      ...CURVE,
      points: CURVE.points.map(point => ({ ...point, pages: 1 })),
      memory: { ...CURVE.memory, zeroPages: bounded, compressedRatio: bounded },
    }
    await series.curveMeasured(whole, ENDED_AT)
    const samples = (await exported(metrics)).filter(({ labels }) => 'target' in labels)
    const count = (label: string): number => samples.filter(({ labels }) => label in labels).length
    expect(count('vcpu')).toBeLessThanOrEqual(2 * 512)
    expect(samples.filter(({ name }) => name === 'dirtyrate_vcpu_dirty_bytes_total')).toHaveLength(
      512,
    )
    expect(count('window')).toBe(5 * CURVE.points.length)
    const ofLink = samples.filter(({ labels }) => 'bandwidth' in labels && 'downtime' in labels)
    expect(ofLink.length).toBeLessThanOrEqual(14 * links.length)
    const furtherLabels = (sample: Exported): string =>
      Object.keys(sample.labels)
        .filter(label => label !== 'target')
        .join()
    const some = samples.filter(sample => furtherLabels(sample) === '')
    const few = ['mode,software', 'result', 'bound', 'step', 'phase']
    expect(some.length).toBeLessThanOrEqual(MOST_OF_TARGET)
    expect(
      samples.filter(sample => few.includes(furtherLabels(sample))).length,
    ).toBeLessThanOrEqual(MOST_OF_FEW)
  })

  it('says how it was asked for', () => {
    const prometheus =
      'application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2'
    expect(formatFor(prometheus)).toBe('openmetrics')
    for (const accept of ['', '*/*', 'text/plain', 'text/html', 'application/openmetrics-text;q=0'])
      expect(formatFor(accept), accept).toBe('text')
  })
})

describe('the metrics', () => {
  it('have names as Prometheus wants them', () => {
    for (const [name, { type, help }] of Object.entries(families)) {
      expect(name).toMatch(/^(dirtyrate|process)_[a-z_]+$/)
      expect(name.endsWith('_total'), name).toBe(type === 'counter')
      expect(help, name).toMatch(/^[A-Z0-9].*[^.]$/)
    }
  })
})
