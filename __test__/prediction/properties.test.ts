/** Rules that hold for every curve, and for every input that is wrong. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isDirtyRateError, predictMigration, predictSnapshot } from '../../ts/prediction/index.js'
import type { PredictionCurve } from '../../ts/prediction/input.js'
import { published } from './published.js'

const GIB = 2 ** 30
const ORDER = { stalls: 0, uncertain: 1, converges: 2 }

/**
 * A curve of two working sets, which is exact or has bounds, in a memory that is full, half empty,
 * or so empty that the guest is seen to fill it.
 */
const curves = fc
  .record({
    hot: fc.double({ min: 1e3, max: 1e5, noNaN: true }),
    cold: fc.double({ min: 1e3, max: 8e5, noNaN: true }),
    fast: fc.double({ min: 0.05, max: 2, noNaN: true }),
    slow: fc.double({ min: 2, max: 100, noNaN: true }),
    width: fc.constantFrom(0, 0, 0.1, 0.5),
    chunks: fc.constantFrom(0, 1, 4),
    zeros: fc.constantFrom(0, 0.5, 0.99, 1),
  })
  .map(({ hot, cold, fast, slow, width, chunks, zeros }): PredictionCurve => {
    const windows = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
    const pagesAt = (t: number): number =>
      hot * -Math.expm1(-t / fast) + cold * -Math.expm1(-t / slow)
    return {
      pageSize: 4096,
      points: windows.map(t => {
        const bytesPerSecond = (pagesAt(t) * 4096) / t
        return {
          windowNs: t * 1e9,
          pages: pagesAt(t),
          bytesPerSecond,
          interval: {
            low: bytesPerSecond * (1 - width),
            high: bytesPerSecond * (1 + width),
            confidence: width === 0 ? 1 : 0.95,
          },
        }
      }),
      memory: { bytes: 4 * GIB, ...(zeros === 0 ? {} : { zeroPages: exactly(zeros * 2 ** 20) }) },
      ...(chunks === 0
        ? {}
        : {
            regions: Array.from({ length: chunks }, (_, at) => ({
              block: 'ram',
              offset: at * GIB,
              bytes: (4 * GIB) / chunks,
              pages: windows.map(t => pagesAt(t) / chunks),
            })),
          }),
    }
  })

function exactly(value: number): { value: number; low: number; high: number } {
  return { value, low: value, high: value }
}

const bandwidths = fc.double({ min: 1e6, max: 1e10, noNaN: true })
const downtimes = fc.double({ min: 1, max: 10_000, noNaN: true })
const profiles = fc.constantFrom('qemu', 'cloud-hypervisor')
const more = fc.double({ min: 1, max: 10, noNaN: true })
const RUNS = { numRuns: process.env.DIRTYRATE_TEST_FULL === '1' ? 2000 : 60 }

describe('a prediction', () => {
  it('is no worse with more bandwidth, or with more downtime', () => {
    fc.assert(
      fc.property(
        curves,
        bandwidths,
        downtimes,
        profiles,
        more,
        (curve, bandwidth, downtime, profile, factor) => {
          const base = predictMigration(curve, { bandwidth, downtime, profile })
          const wider = predictMigration(curve, {
            bandwidth: bandwidth * factor,
            downtime,
            profile,
          })
          const longer = predictMigration(curve, {
            bandwidth,
            downtime: downtime * factor,
            profile,
          })
          for (const better of [wider, longer])
            expect(ORDER[better.verdict]).toBeGreaterThanOrEqual(ORDER[base.verdict])
          const least = (one: typeof base): number => one.leastDowntimeMs.high ?? Infinity
          expect(least(wider)).toBeLessThanOrEqual(least(base) * 1.001 + 1e-6)
        },
      ),
      RUNS,
    )
  })

  it('agrees with its own least downtime and least bandwidth', () => {
    fc.assert(
      fc.property(
        curves,
        bandwidths,
        downtimes,
        profiles,
        (curve, bandwidth, downtime, profile) => {
          const { verdict, leastDowntimeMs, leastBandwidthBytesPerSecond } = predictMigration(
            curve,
            {
              bandwidth,
              downtime,
              profile,
            },
          )
          const [low, high] = [leastDowntimeMs.low ?? Infinity, leastDowntimeMs.high ?? Infinity]
          if (downtime > high * 1.001) expect(verdict).toBe('converges')
          if (downtime < high * 0.999) expect(verdict).not.toBe('converges')
          if (downtime < low * 0.999) expect(verdict).toBe('stalls')
          const enough = leastBandwidthBytesPerSecond.high
          if (enough !== null && enough < 1e12) {
            const wide = { bandwidth: enough * 1.01, downtime, profile }
            expect(predictMigration(curve, wide).verdict).toBe('converges')
          }
        },
      ),
      RUNS,
    )
  })

  it('has bounds on both sides of each figure', () => {
    fc.assert(
      fc.property(
        curves,
        bandwidths,
        downtimes,
        profiles,
        (curve, bandwidth, downtime, profile) => {
          const prediction = predictMigration(curve, { bandwidth, downtime, profile })
          const { passes, bytes, totalMs, downtimeMs, leastDowntimeMs } = prediction
          for (const { value, low, high } of [
            passes,
            bytes,
            totalMs,
            downtimeMs,
            leastDowntimeMs,
          ]) {
            expect(low ?? Infinity).toBeLessThanOrEqual(value ?? Infinity)
            expect(value ?? Infinity).toBeLessThanOrEqual(high ?? Infinity)
          }
          if (prediction.verdict === 'converges') expect(totalMs.value).not.toBeNull()
        },
      ),
      RUNS,
    )
  })

  it('takes as long as what it sends needs on the link', () => {
    fc.assert(
      fc.property(curves, bandwidths, profiles, (curve, bandwidth, profile) => {
        const { bytes, totalMs } = predictMigration(curve, {
          bandwidth,
          downtime: 'unlimited',
          profile,
        })
        const leastMs = ((bytes.low ?? Infinity) / bandwidth) * 1000
        expect(totalMs.low ?? Infinity).toBeGreaterThanOrEqual(leastMs * 0.96)
      }),
      RUNS,
    )
  })

  it('of each way out that works is right', () => {
    fc.assert(
      fc.property(curves, bandwidths, downtimes, (curve, bandwidth, downtime) => {
        const { waysOut } = predictMigration(curve, { bandwidth, downtime })
        const way = waysOut.find(({ kind }) => kind === 'more-downtime')
        const longer = way?.downtimeMs?.high
        if (longer === undefined || longer === null || longer > 86_000_000) return
        const taken = { bandwidth, downtime: longer * 1.001 }
        expect(predictMigration(curve, taken).verdict).toBe('converges')
      }),
      RUNS,
    )
  })
})

describe('a dirty limit', () => {
  it('is for the largest writers first, and adds up', () => {
    const vcpus = [300, 10, 100, 5].map((mega, id) => ({ id, bytesPerSecond: mega * 1e6 }))
    const options = { bandwidth: '2Gbit/s', downtime: '300ms', vcpus }
    const way = predictMigration(published, options).waysOut.find(
      ({ kind }) => kind === 'dirty-limit',
    )
    const limits = way?.vcpus ?? []
    expect(limits[0]?.id).toBe(0)
    const left = vcpus.map(({ id, bytesPerSecond }) =>
      Math.min(bytesPerSecond, limits.find(one => one.id === id)?.bytesPerSecond ?? Infinity),
    )
    const sum = left.reduce((all, one) => all + one, 0)
    expect(sum).toBeCloseTo(way?.bytesPerSecond?.low ?? 0, 0)
  })
})

const good = (): Record<string, unknown> & { points: Record<string, unknown>[] } => ({
  points: [0.1, 1].map(t => ({
    windowNs: t * 1e9,
    bytesPerSecond: 1e6,
    interval: { low: 1e6, high: 1e6, confidence: 1 },
  })),
  memory: { bytes: GIB },
})

describe('an input that is wrong', () => {
  const options = { bandwidth: '1GB/s', downtime: '300ms' }
  const first = (change: object): unknown => {
    const curve = good()
    return { ...curve, points: [{ ...curve.points[0], ...change }, curve.points[1]] }
  }
  it.each([
    ['no object', 'text'],
    ['null', null],
    ['no points', { ...good(), points: [] }],
    ['too many points', { ...good(), points: new Array(10_001).fill(good().points[0]) }],
    ['unsorted windows', { ...good(), points: good().points.reverse() }],
    ['a window of NaN', first({ windowNs: Number.NaN })],
    ['a negative window', first({ windowNs: -1 })],
    ['a huge window', first({ windowNs: 1e308 })],
    ['a huge rate', first({ bytesPerSecond: 1e308 })],
    ['a rate that is text', first({ bytesPerSecond: '1' })],
    ['no interval', first({ interval: undefined })],
    ['a bound above the rate', first({ interval: { low: 2e6, high: 3e6, confidence: 1 } })],
    ['a bound below the rate', first({ interval: { low: 1e5, high: 2e5, confidence: 1 } })],
    [
      'a hole among the points',
      { ...good(), points: Object.assign(new Array(2), { 1: good().points[1] }) },
    ],
    [
      'more zero pages than memory',
      { ...good(), memory: { bytes: GIB, zeroPages: exactly(2 ** 20) } },
    ],
    [
      'regions without the dirty pages',
      { ...good(), regions: [{ block: 'a', offset: 0, bytes: GIB, pages: [0, 0] }] },
    ],
    [
      'regions of more than the memory',
      { ...good(), regions: [{ block: 'a', offset: 0, bytes: 2 * GIB, pages: [25, 244] }] },
    ],
    [
      'more extents than granules',
      {
        ...good(),
        granularities: [{ granuleBytes: 4096, dirtyGranules: [25, 244], extents: [1, 245] }],
      },
    ],
    [
      'granules that are no whole pages',
      {
        ...good(),
        granularities: [{ granuleBytes: 5000, dirtyGranules: [25, 244], extents: [1, 1] }],
      },
    ],
    [
      'the same granularity twice',
      {
        ...good(),
        granularities: [65536, 65536].map(granuleBytes => ({
          granuleBytes,
          dirtyGranules: [25, 244],
          extents: [1, 1],
        })),
      },
    ],
    ['negative pages', first({ pages: -1 })],
    ['a negative memory', { ...good(), memory: { bytes: -1 } }],
    ['no memory', { ...good(), memory: undefined }],
    ['less memory than dirty pages', { ...good(), memory: { bytes: 1000 } }],
    [
      'zero pages out of order',
      { ...good(), memory: { bytes: GIB, zeroPages: { value: 1, low: 2, high: 3 } } },
    ],
    [
      'a column that is too short',
      { ...good(), regions: [{ block: 'a', offset: 0, bytes: GIB, pages: [1] }] },
    ],
    [
      'a region with NaN',
      { ...good(), regions: [{ block: 'a', offset: 0, bytes: GIB, pages: [1, Number.NaN] }] },
    ],
    [
      'a published curve with more hits than samples',
      { ...published, dirtySampledPages: published.windowSeconds.map(() => 1e6) },
    ],
    ['a published curve without samples', { ...published, sampledPages: 0 }],
  ])('is refused: %s', (_, curve) => {
    let error: unknown
    try {
      predictMigration(curve as PredictionCurve, options)
    } catch (caught) {
      error = caught
    }
    expect(isDirtyRateError(error, 'ERR_ARGUMENT')).toBe(true)
  })

  it.each([
    ['curve.points[0].windowNs', first({ windowNs: undefined })],
    ['curve.points[0].interval.low', first({ interval: { high: 1e6, confidence: 1 } })],
    ['curve.regions[0].pages', { ...good(), regions: [{ block: 'a', offset: 0, bytes: GIB }] }],
  ])('says which member is missing: %s', (member, curve) => {
    expect(() => predictMigration(curve as PredictionCurve, options)).toThrow(
      `${member}: it is missing`,
    )
  })

  it('never breaks anything else', () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), (part, member) => {
        for (const curve of [
          part,
          { ...good(), points: [part] },
          { ...good(), memory: part },
          first({ windowNs: member, interval: part }),
        ]) {
          try {
            predictMigration(curve as PredictionCurve, options)
          } catch (error) {
            if (!isDirtyRateError(error, 'ERR_ARGUMENT')) throw error
          }
        }
      }),
      { numRuns: 200 },
    )
  })

  it.each([
    [{ bandwidth: '1GB/s', downtime: '0s' }],
    [{ bandwidth: '0B/s', downtime: '1s' }],
    [{ bandwidth: '1GB/s', downtime: '1s', profile: { headerBytes: -1 } }],
    [{ bandwidth: '1GB/s', downtime: '1s', profile: { clearing: { chunkBytes: 1 } } }],
    [{ bandwidth: '1GB/s', downtime: '1s', profile: { curves: 1 } }],
    [{ bandwidth: '1GB/s', downtime: '1s', profile: { waysOut: ['teleport'] } }],
    [{ bandwidth: '1GB/s', downtime: '1s', profile: { waysOut: 'post-copy' } }],
    [{ bandwidth: '1GB/s', downtime: '1s', profile: 'qemu-1.0' }],
    [{ bandwidth: '1GB/s', downtime: '1s', profile: 'qemu-8.1', switchoverBandwidth: '2GB/s' }],
    [{ bandwidth: '1GB/s', downtime: '1s', profile: { limiterMs: 0 } }],
    [{ bandwidth: '1GB/s', downtime: '1s', profile: [] }],
    [{ bandwidth: '1GB/s', downtime: '1s', linkBandwidth: '999MB/s' }],
    [{ bandwidth: '1GB/s', downtime: '1s', latency: 1 }],
    // A hole, which Array.map() passes over.
    [{ bandwidth: '1GB/s', downtime: '1s', vcpus: new Array(1) }],
    [{ bandwidth: '1GB/s', downtime: '1s', vcpus: [3, 3].map(id => ({ id, bytesPerSecond: 1 })) }],
  ])('is refused: %j', given => {
    expect(() => predictMigration(good() as never, given as never)).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT' }),
    )
  })

  it('does not include a phase without a rate for one of the windows', () => {
    const phases = [
      { rounds: 3, bytesPerSecond: [1e6, null] },
      { rounds: 4, bytesPerSecond: [1e6, 1e6] },
    ]
    const curve = { ...good(), repeated: { stationary: false, phases } }
    const { verdict } = predictMigration(curve as never, options)
    expect(verdict).toBe('converges')
  })

  it('a downtime that the state of the devices takes alone', () => {
    const profile = { subtractsDeviceState: true }
    const wanted = { bandwidth: '1GB/s', downtime: '4s', deviceState: '5s', profile }
    expect(predictMigration(good() as never, wanted).verdict).toBe('stalls')
  })

  it('a granularity that was not measured', () => {
    const wanted = { interval: '1s', bandwidth: '1GB/s', granularity: '64KiB' }
    expect(() => predictSnapshot(good() as never, wanted)).toThrow('not measured in units')
  })
})
