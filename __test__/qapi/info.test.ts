/** QEMU's answer, computed from a result of ours. */

import { describe, expect, it } from 'vitest'
import { dirtyRateInfo } from '../../ts/qapi/info.js'
import type {
  DirtyBitmapFigures,
  DirtyRingFigures,
  PageSamplingFigures,
} from '../../ts/results/measurement.js'

const startedAt = new Date(1_795_439_319_999).toISOString()
const common = {
  window: { requestedMs: 100, ns: 100_999_999, skewNs: 0 },
  bytesPerSecond: 1,
  interval: { low: 1, high: 1, confidence: 1 },
  pages: 2560,
  pageSize: 4096,
  complete: true,
  warnings: [],
}
const bitmap: DirtyBitmapFigures = { ...common, mode: 'dirty-bitmap' }

describe("QEMU's answer", () => {
  it('has its members in the order in which QEMU prints them, and its time rounded down', () => {
    const info = dirtyRateInfo({ ...bitmap, startedAt })
    expect(info).toEqual({
      status: 'measured',
      'sample-pages': 0,
      'dirty-rate': 100,
      mode: 'dirty-bitmap',
      'calc-time-unit': 'millisecond',
      'start-time': 1_795_439_319,
      'calc-time': 100,
    })
    expect(Object.keys(info)[0]).toBe('status')
  })

  it('is over the time in which the guest ran', () => {
    // 10 MiB in 50 of 100 ms.
    const paused = { ...bitmap, window: { requestedMs: 100, ns: 1e8, skewNs: 0, pausedNs: 5e7 } }
    expect(dirtyRateInfo({ ...paused, startedAt })['dirty-rate']).toBe(200)
  })

  it('has the rates of the vCPUs with rings, and counts a page once', () => {
    const vcpu = (id: number, pages: number) => ({ id, pages, bytesPerSecond: 1 })
    const ring: DirtyRingFigures = {
      ...common,
      window: { requestedMs: 100, ns: 1e8, skewNs: 0 },
      mode: 'dirty-ring',
      vcpus: [vcpu(0, 2000), vcpu(1, 2000)],
    }
    expect(dirtyRateInfo({ ...ring, startedAt })).toMatchObject({
      'vcpu-dirty-rate': [
        { 'dirty-rate': 78, id: 0 },
        { 'dirty-rate': 78, id: 1 },
      ],
      'dirty-rate': 100,
    })
  })

  it('of sampling scales the hits to the memory, and knows no pages', () => {
    const sampling: PageSamplingFigures = {
      ...common,
      mode: 'page-sampling',
      window: { requestedMs: 500, ns: 5e8, skewNs: 0 },
      blocks: [{ name: 'ram', guestAddress: 0, bytes: 2 ** 30, pages: 1, windowNs: 5e8 }],
      sampling: { samplesPerGiB: 512, samples: 512, hits: 10 },
    }
    // 10 of 512 samples of 1024 MiB in 500 ms.
    expect(dirtyRateInfo({ ...sampling, startedAt })).toMatchObject({
      'dirty-rate': 40,
      'sample-pages': 512,
      mode: 'page-sampling',
    })
  })
})
