import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  dirtyRateMiB,
  infoInUnit,
  infoMs,
  inUnit,
  rateOfPages,
  ringRate,
  samplingRate,
} from '../../ts/qapi/arithmetic.js'

/**
 * QEMU's own expression in 64-bit integers: DIV of `(pages * 1000) >> (20 - TARGET_PAGE_BITS)` by
 * the duration.
 */
const oracle = (pages: number, pageBits: number, ms: number): bigint =>
  ((BigInt(pages) * 1000n) >> BigInt(20 - pageBits)) / BigInt(ms)

describe("QEMU's arithmetic", () => {
  it.each([
    [25_600, 1000, 100],
    [25_600, 1001, 99],
    [25_603, 1000, 100],
    [255, 1000, 0],
    [256, 1000, 1],
    [0, 50, 0],
  ])('%d pages in %d ms are %d MiB/s', (pages, ms, rate) =>
    expect(dirtyRateMiB(pages, 4096, ms)).toBe(rate),
  )

  it('equals integer arithmetic', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 32 }),
        fc.constantFrom(12, 14, 16),
        fc.integer({ min: 1, max: 3_600_000 }),
        (pages, bits, ms) => {
          expect(BigInt(dirtyRateMiB(pages, 2 ** bits, ms))).toBe(oracle(pages, bits, ms))
        },
      ),
    )
  })

  it('takes a window below 1 ms for one of 1 ms, as no time has passed', () => {
    expect(dirtyRateMiB(256, 4096, 0)).toBe(1000)
    expect(rateOfPages(256, 4096, 999_999)).toBe(1000)
    expect(samplingRate(1, 2, [2 ** 21], 0)).toBe(1000)
  })

  it('gives an answer in another unit, with all else as it was', () => {
    const info = {
      status: 'measured',
      mode: 'dirty-ring',
      'calc-time-unit': 'millisecond',
      'calc-time': 1999,
      'start-time': 7,
      'sample-pages': 0,
    } as const
    expect(infoInUnit(info, 'second')).toEqual({
      ...info,
      'calc-time-unit': 'second',
      'calc-time': 1,
    })
    expect(infoInUnit(info, 'millisecond')).toEqual(info)
  })

  it('rounds times down', () => {
    expect(inUnit(101, 'second')).toBe(0)
    expect(inUnit(1999, 'second')).toBe(1)
    expect(inUnit(101, 'millisecond')).toBe(101)
  })

  it("has page sampling's time never below what was asked, and that of the exact modes as it was", () => {
    const timeOf = (mode: 'page-sampling' | 'dirty-bitmap', ns: number): number =>
      infoMs({ mode, window: { requestedMs: 1000.5, ns, skewNs: 0 } })
    expect(timeOf('page-sampling', 974_000_000)).toBe(1000)
    expect(timeOf('page-sampling', 1_001_999_999)).toBe(1001)
    expect(timeOf('dirty-bitmap', 974_000_000)).toBe(974)
  })

  it('sums the truncated rates of vCPUs, but counts a page once', () => {
    const vcpus = [
      { id: 0, 'dirty-rate': 32 },
      { id: 1, 'dirty-rate': 7 },
    ]
    // 32.9 and 7.9 of separate pages are 40.8: QEMU says 39.
    expect(ringRate(vcpus, 40)).toBe(39)
    // The same pages written by both.
    expect(ringRate(vcpus, 32)).toBe(32)
    expect(ringRate([], 5)).toBe(0)
  })

  it('extrapolates samples in integers', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 22 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.array(fc.integer({ min: 4096, max: 2 ** 40 }), { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 3_600_000 }),
        (samples, share, blocks, ms) => {
          const hits = Math.floor(samples * share)
          const mib = blocks.reduce((sum, bytes) => sum + (BigInt(bytes) >> 20n), 0n)
          const rate = (BigInt(hits) * mib * 1000n) / (BigInt(samples) * BigInt(ms))
          expect(BigInt(samplingRate(hits, samples, blocks, ms * 1e6 + 999_999))).toBe(rate)
        },
      ),
    )
    expect(samplingRate(0, 0, [], 1e9)).toBe(0)
  })
})
