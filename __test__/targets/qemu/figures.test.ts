/** What QEMU's whole MiB/s stand for. */

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { native } from '../../../ts/ground/native.js'
import type { Method } from '../../../ts/measurement/source.js'
import type { DirtyRateInfo } from '../../../ts/qapi/types.js'
import type { Figures } from '../../../ts/results/measurement.js'
import { figuresOf } from '../../../ts/targets/qemu/figures.js'

const MIB = 2 ** 20
const GIB = 2 ** 30

const info = (rate: number, ms: number, mode: DirtyRateInfo['mode']): DirtyRateInfo => ({
  status: 'measured',
  'dirty-rate': rate,
  'calc-time': ms,
  'calc-time-unit': 'millisecond',
  'start-time': 0,
  'sample-pages': mode === 'page-sampling' ? 512 : 0,
  mode,
})
const sampling = (samplesPerGiB = 512): Method => ({
  mode: 'page-sampling',
  samples: { samplesPerGiB, confidence: 0.95, design: 'stratified', interval: 'wilson' },
})
const sampled = (rate: number, ms: number, bytes = GIB, samplesPerGiB?: number): Figures =>
  figuresOf(info(rate, ms, 'page-sampling'), sampling(samplesPerGiB), ms, bytes)

it('an exact rate v is anything from v to v + 1 MiB/s', () => {
  const method = { mode: 'dirty-bitmap' } as const
  expect(figuresOf(info(100, 1001, 'dirty-bitmap'), method, 1000, GIB)).toEqual({
    mode: 'dirty-bitmap',
    window: { requestedMs: 1000, ns: 1001e6 },
    bytesPerSecond: 100 * MIB,
    interval: { low: 100 * MIB, high: 101 * MIB, confidence: 1 },
    complete: true,
    warnings: [],
  })
})

it('a sampled rate has the interval of the samples at both ends of its rounding', () => {
  // 1 GiB in 1 s: a sample of 512 is 2 MiB/s, so 100 MiB/s are 50 hits and 101 MiB/s are 50.5.
  const { low } = native().sampleInterval(50, 512, 0.95, 'wilson')
  const { high } = native().sampleInterval(50.5, 512, 0.95, 'wilson')
  const { interval } = sampled(100, 1000)
  expect(interval.confidence).toBe(0.95)
  expect(interval.low).toBeCloseTo(low * GIB, 0)
  expect(interval.high).toBeCloseTo(high * GIB, 0)
})

it('a sampled 0 is not a rate of 0: a guest that dirties little is easily missed', () => {
  const { interval } = sampled(0, 1000)
  expect(interval.low).toBe(0)
  // A twentieth of the samples of such guests have no hit: 1 − (1 − p)^512 = 95 %.
  expect(interval.high).toBeGreaterThan(GIB * (1 - 0.05 ** (1 / 512)))
})

it('an interval has the rate in it, and no rate that is not possible', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 ** 24 }),
      fc.integer({ min: 50, max: 60_000 }),
      fc.integer({ min: 2 ** 24, max: 2 ** 44 }),
      fc.integer({ min: 128, max: 16_384 }),
      (mib, ms, bytes, samples) => {
        // No VM dirties more than its memory in a window.
        const rate = Math.min(mib, Math.floor((bytes * 1000) / ms / MIB))
        const { interval } = sampled(rate, ms, bytes, samples)
        expect(interval.low).toBeGreaterThanOrEqual(0)
        expect(interval.low).toBeLessThanOrEqual(rate * MIB * (1 + 1e-9))
        expect(interval.high).toBeGreaterThanOrEqual(rate * MIB * (1 - 1e-9))
        expect(interval.high).toBeLessThanOrEqual(((bytes * 1000) / ms) * (1 + 1e-9))
      },
    ),
  )
})
