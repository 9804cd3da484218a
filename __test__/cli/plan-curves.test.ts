/** What becomes of a curve that goes through the metrics: nothing is lost but where it is dirty. */

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { curvesOf, METRIC_NAMES } from '../../ts/cli/plan/prometheus/curves.js'
import { Metrics } from '../../ts/metrics/metrics.js'
import type { CurveInput } from '../../ts/prediction/curve-input.js'
import { parseCurve } from '../../ts/prediction/input.js'
import { predict } from '../../ts/prediction/migration.js'
import { parseMigrationOptions } from '../../ts/prediction/options.js'
import { maySweep } from '../../ts/prediction/sweeping.js'
import type { DirtyRateCurve } from '../../ts/results/curve.js'
import { samplesOf } from '../fixtures/exposition.js'
import { hostOf } from '../prediction/hosts.js'

const AT = 1_767_225_601
const OPTIONS = { atSeconds: AT + 5, mostAgeMs: 60_000, memoryBytes: undefined }

/** The curve that a plan reads in the metrics of `curve`. */
async function throughMetrics(curve: DirtyRateCurve): Promise<CurveInput | undefined> {
  const metrics = new Metrics({ version: '1.2.3', links: [] })
  await metrics.add('played:vm').curveMeasured(curve, AT * 1000)
  const samples = samplesOf((await metrics.expose('text')).text)
  const asked = new RegExp(`^(${METRIC_NAMES})$`)
  const series = samples
    .filter(({ name }) => asked.test(name))
    .map(({ name, labels, value }) => ({ labels: { ...labels, __name__: name }, value }))
  const { known, unknown } = curvesOf(series, OPTIONS)
  expect(unknown).toEqual([])
  expect(known.map(({ ageMs }) => ageMs)).toEqual([5000])
  return known[0]?.input
}

const frame = { schemaVersion: 1, target: 'played:vm', startedAt: '2026-01-01T00:00:00Z' } as const
const bounded = fc
  .tuple(...[0.1, 0.2, 0.3].map(max => fc.double({ min: max - 0.1, max, noNaN: true })))
  .map(([low = 0, value = 0, high = 0]) => ({ low, value, high }))

const curves = fc
  .record({
    windows: fc.uniqueArray(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 32 }),
    rate: fc.double({ min: 0, max: 1e9, noNaN: true }),
    skew: fc.double({ min: 1, max: 1.1, noNaN: true }),
    confidence: fc.constantFrom(0.95, 1),
    hasUpper: fc.boolean(),
    counts: fc.boolean(),
    zeros: fc.option(bounded, { nil: undefined }),
    ratio: fc.option(bounded, { nil: undefined }),
    complete: fc.boolean(),
  })
  .map(({ windows, rate, skew, confidence, hasUpper, counts, zeros, ratio, complete }) => {
    const scaled = (by: number, of: { low: number; value: number; high: number }) => ({
      low: of.low * by,
      value: of.value * by,
      high: of.high * by,
    })
    const curve = {
      ...frame,
      mode: 'dirty-bitmap',
      pageSize: 4096,
      points: windows
        .sort((a, b) => a - b)
        .map(requestedMs => {
          const windowNs = Math.round(requestedMs * 1e6 * skew)
          const bytesPerSecond = rate / (1 + requestedMs / 1000)
          const pages = Math.floor((bytesPerSecond * windowNs * 0.999) / 1e9 / 4096)
          return {
            requestedMs,
            windowNs,
            bytesPerSecond,
            interval: {
              low: bytesPerSecond * 0.9,
              high: hasUpper ? bytesPerSecond * 1.1 : null,
              confidence,
            },
            ...(counts ? { pages } : {}),
          }
        }),
      memory: {
        bytes: 2 ** 34,
        ...(zeros === undefined ? {} : { zeroPages: scaled(2 ** 20, zeros) }),
        ...(ratio === undefined
          ? {}
          : { compressedRatio: scaled(3, ratio), compressionBytesPerSecond: 5e8 }),
      },
      complete,
      warnings: [],
    } satisfies DirtyRateCurve
    return curve
  })

it('all numbers of a curve without regions come back', async () => {
  await fc.assert(
    fc.asyncProperty(curves, async curve => {
      const { mode: _, maySweep: sweeps, ...read } = (await throughMetrics(curve)) ?? {}
      const input = parseCurve(curve)
      const { mode: __, ...own } = input
      expect(read).toEqual(own)
      expect(sweeps).toBe(maySweep(input))
    }),
    { numRuns: 50 },
  )
})

it('a prediction allows for each place where the regions that are lost may be dirty', async () => {
  for (const seed of [1, 2, 3]) {
    for (const { curve } of hostOf(10, seed, 1, 0).vms) {
      const points = curve.points.map(point => ({ ...point, requestedMs: point.windowNs / 1e6 }))
      const whole = {
        ...frame,
        ...curve,
        mode: 'dirty-bitmap',
        points,
        complete: true,
        warnings: [],
      }
      const read = await throughMetrics(whole as unknown as DirtyRateCurve)
      if (read === undefined) throw new Error('nothing was read')
      const profile = hostOf(1, 1, 1, 0).options.profile
      for (const part of [1, 0.5, 0.25]) {
        const bandwidth = 2048 * 4096 * part
        const wanted = parseMigrationOptions({ bandwidth, downtime: 300, profile })
        const [own, other] = [predict(parseCurve(curve), wanted), predict(read, wanted)]
        if (other.verdict !== 'uncertain') expect(own.verdict).toBe(other.verdict)
        if (own.verdict !== 'converges' || other.verdict === 'stalls') continue
        expect(other.totalMs.low ?? 0).toBeLessThanOrEqual((own.totalMs.value ?? 0) * (1 + 1e-9))
        expect(other.totalMs.high ?? Infinity).toBeGreaterThanOrEqual(
          (own.totalMs.value ?? 0) * (1 - 1e-9),
        )
      }
    }
  }
})
