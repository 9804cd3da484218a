/** The figures that each mode makes from the core's reports, without a VM. */

import { describe, expect, it } from 'vitest'
import type {
  NativeReap,
  NativeSampleReport,
  NativeVirtualMachine,
} from '../../ts/ground/native.js'
import { parseSampling, refuseSampling } from '../../ts/measurement/sampling.js'
import { dirtyRateInfo } from '../../ts/qapi/info.js'
import { samplePages } from '../../ts/targets/page-sampling.js'
import { bitmapFigures } from '../../ts/targets/vm/dirty-bitmap.js'
import { ringFigures } from '../../ts/targets/vm/dirty-ring.js'
import type { VirtualMachineFigures } from '../../ts/targets/vm/figures.js'
import { type ExactRound, measureExactly } from '../../ts/targets/vm/five-steps.js'

const cost = {
  startNs: 1,
  syncNs: 2,
  clearNs: 3,
  harvestNs: 4,
  reapNs: 5,
  ioctlNs: 6,
  longestLockNs: 7,
}
const PAGE = 4096

/** The figures with QEMU's answer beside them. */
const resultOf = <F extends VirtualMachineFigures>(figures: F) => ({
  ...figures,
  qapi: dirtyRateInfo({ ...figures, startedAt: new Date(1_795_439_319_999).toISOString() }),
})
const block = {
  name: 'ram',
  generation: 1,
  guestAddress: 0,
  bytes: 2 ** 30,
  bytesPerSecond: 1,
  removed: false,
}

function round(reap: Partial<NativeReap>): ExactRound {
  const pages = reap.pages ?? 5120
  const base: NativeReap = {
    pages,
    dirtyBytes: pages * 4096,
    bytesPerSecond: pages * 4096 * 2,
    windowNs: 500_000_000,
    pausedNs: 0,
    skewNs: 11,
    reapNs: 5,
    blocks: [{ ...block, pages, windowNs: 500_000_000 }],
    complete: true,
    ring: null,
    vcpus: null,
  }
  return { requestedMs: 500, lateNs: 0, explainedNs: 1, reap: { ...base, ...reap }, cost }
}

/** Two vCPUs, 300 of whose pages are the same. */
const rings = {
  ring: { entries: 6000, duplicates: 580, sharedPages: 300, dropped: 0, lost: 0 },
  vcpus: [
    { id: 0, pages: 2720, entries: 3000, duplicates: 280, bytesPerSecond: 2720 * 8192 },
    { id: 1, pages: 2700, entries: 3000, duplicates: 300, bytesPerSecond: 2700 * 8192 },
  ],
}

describe('a window over a bitmap', () => {
  it('is exact', () => {
    const result = resultOf(bitmapFigures(round({}), PAGE))
    expect(result).toMatchObject({
      mode: 'dirty-bitmap',
      window: { requestedMs: 500, ns: 500_000_000, skewNs: 11 },
      bytesPerSecond: 40 * 2 ** 20,
      interval: { low: 40 * 2 ** 20, high: 40 * 2 ** 20, confidence: 1 },
      pages: 5120,
      complete: true,
      warnings: [],
      qapi: { 'dirty-rate': 40, status: 'measured', 'calc-time': 500, 'start-time': 1_795_439_319 },
    })
    for (const member of ['ring', 'vcpus', 'sampling', 'truth'])
      expect(result).not.toHaveProperty(member)
    expect(result.qapi).not.toHaveProperty('vcpu-dirty-rate')
  })
})

it('over which the guest was paused has a rate over the time in which the guest ran', () => {
  const paused = { windowNs: 1_000_000_000, pausedNs: 500_000_000 }
  const result = resultOf(bitmapFigures(round(paused), PAGE))
  expect(result.window).toEqual({ requestedMs: 500, ns: 1e9, skewNs: 11, pausedNs: 5e8 })
  // 20 MiB in the half second in which it ran.
  expect(result.qapi['dirty-rate']).toBe(40)
})

describe('a window over rings', () => {
  it('is the union of the vCPUs, with entries and duplicates beside it', () => {
    const result = resultOf(ringFigures(round(rings), PAGE))
    expect(result).toMatchObject({
      mode: 'dirty-ring',
      pages: 5120,
      interval: { low: 40 * 2 ** 20, high: 40 * 2 ** 20, confidence: 1 },
      ring: rings.ring,
      vcpus: rings.vcpus,
      complete: true,
      warnings: [],
    })
    // Each vCPU's 21 MiB/s; the sum counts the shared pages twice, the VM's rate does not.
    expect(result.qapi).toEqual({
      'vcpu-dirty-rate': [
        { 'dirty-rate': 21, id: 0 },
        { 'dirty-rate': 21, id: 1 },
      ],
      status: 'measured',
      'sample-pages': 0,
      'dirty-rate': 40,
      mode: 'dirty-ring',
      'calc-time-unit': 'millisecond',
      'start-time': 1_795_439_319,
      'calc-time': 500,
    })
  })

  it('that lost entries is a lower bound, and says so', () => {
    const lost = { ...rings, complete: false, ring: { ...rings.ring, lost: 17 } }
    const result = resultOf(ringFigures(round(lost), PAGE))
    expect(result.interval).toEqual({ low: 40 * 2 ** 20, high: null, confidence: 1 })
    expect(result.complete).toBe(false)
    expect(result.warnings).toEqual([
      { code: 'RING_OVERRUN', message: expect.stringContaining('17') },
    ])
    // How many may be unknown.
    const unknown = { ...rings, complete: false }
    expect(ringFigures(round(unknown), PAGE).warnings).toMatchObject([{ code: 'RING_OVERRUN' }])
  })
})

describe('a window by sampling', () => {
  const report: NativeSampleReport = {
    requestedMs: 500,
    lateNs: 0,
    samples: 512,
    hits: 10,
    zeroPages: 400,
    unjudged: 0,
    samplesPerGib: 512,
    windowNs: 500_000_000,
    skewNs: 3,
    hashNs: 99,
    pages: 5120,
    pagesLow: 2800,
    pagesHigh: 9400,
    bytesPerSecond: 40 * 2 ** 20,
    bytesPerSecondLow: 2800 * 8192,
    bytesPerSecondHigh: 9400 * 8192,
    incrementPages: 5120,
    incrementLow: 2800,
    incrementHigh: 9400,
    memoryBytes: 2 ** 30,
    memoryZeroPages: 204_800,
    memoryZeroPagesLow: 195_000,
    memoryZeroPagesHigh: 213_000,
    blocks: [
      {
        name: 'ram',
        guestAddress: 0,
        bytes: 2 ** 30,
        samples: 512,
        hits: 10,
        zeroPages: 400,
        windowNs: 5e8,
        pages: 5120,
        pagesLow: 2799.4,
        pagesHigh: 9399.6,
        removed: false,
      },
      {
        name: 'dimm',
        guestAddress: 2 ** 32,
        bytes: 2 ** 12,
        samples: 1,
        hits: 0,
        zeroPages: 1,
        windowNs: 1.25e8,
        pages: 0,
        pagesLow: 0,
        pagesHigh: 0.8,
        removed: true,
      },
    ],
    truth: { low: 5000, pages: 5001, high: 5002 },
  }
  const sampleAt = async (): Promise<NativeSampleReport[]> => [report]
  const DEFAULT = { mode: 'page-sampling', samples: parseSampling({}) } as const

  it('has an interval, and what is behind it', async () => {
    const method = { mode: 'page-sampling', samples: parseSampling({ confidence: 0.9 }) } as const
    const [measured] = await samplePages(sampleAt, method, PAGE, [500], undefined as never)
    if (measured === undefined) throw new Error('no round')
    const result = resultOf(measured.figures)
    expect(result).toMatchObject({
      mode: 'page-sampling',
      interval: { low: 2800 * 8192, high: 9400 * 8192, confidence: 0.9 },
      pages: 5120,
      sampling: { samples: 512, hits: 10, zeroPages: 400, samplesPerGiB: 512 },
      complete: true,
      truth: report.truth,
      warnings: [
        {
          code: 'BLOCK_REMOVED',
          message:
            "RAM block 'dimm' was removed within the window: it counts by what was written in its 125.0 ms",
        },
      ],
    })
    // Nothing was tracked, so that nothing but the hashing has a cost.
    expect(result.cost).toEqual({ hashNs: 99 })
    const pages = { confidence: 0.9 }
    expect(result.blocks).toEqual([
      {
        name: 'ram',
        guestAddress: 0,
        bytes: 2 ** 30,
        pages: 5120,
        windowNs: 5e8,
        sampling: {
          samples: 512,
          hits: 10,
          zeroPages: 400,
          pages: { ...pages, low: 2799, high: 9400 },
        },
      },
      {
        name: 'dimm',
        guestAddress: 2 ** 32,
        bytes: 2 ** 12,
        pages: 0,
        windowNs: 1.25e8,
        removed: true,
        sampling: { samples: 1, hits: 0, zeroPages: 1, pages: { ...pages, low: 0, high: 1 } },
      },
    ])
    // 10 of 512 samples of 1024 MiB in 500 ms.
    expect(result.qapi).toMatchObject({
      'dirty-rate': 40,
      'sample-pages': 512,
      mode: 'page-sampling',
    })
    expect(measured.increment).toEqual({ pages: 5120, low: 2800, high: 9400 })
    expect(result).not.toHaveProperty('increment')
  })

  it('is a lower bound if samples came back from swap', async () => {
    const sampled = async (): Promise<NativeSampleReport[]> => [{ ...report, unjudged: 3 }]
    const rounds = await samplePages(sampled, DEFAULT, PAGE, [500], undefined as never)
    expect(rounds[0]?.figures).toMatchObject({
      complete: false,
      warnings: [
        { code: 'BLOCK_REMOVED' },
        { code: 'PAGES_UNJUDGED', message: expect.stringContaining('3 of 512 samples') },
      ],
    })
  })

  it('is refused a report too few', async () => {
    await expect(samplePages(sampleAt, DEFAULT, PAGE, [1, 2], undefined as never)).rejects.toThrow(
      RangeError,
    )
  })
})

describe('the options of sampling', () => {
  it('have defaults', () => {
    expect(parseSampling({})).toEqual({
      samplesPerGiB: 512,
      confidence: 0.95,
      design: 'stratified',
      interval: 'wilson',
    })
    const sampling = { seed: 7, design: 'simple-random', interval: 'clopper-pearson' } as const
    expect(parseSampling({ samplePages: 128, confidence: 0.5, sampling })).toEqual({
      samplesPerGiB: 128,
      confidence: 0.5,
      ...sampling,
    })
  })

  it.each([
    [{ samplePages: 127 }, 'samplePages: 127'],
    [{ samplePages: 16_385 }, 'samplePages: 16385'],
    [{ samplePages: 512.5 }, 'samplePages'],
    [{ samplePages: '512' }, 'samplePages'],
    [{ confidence: 0 }, 'confidence: 0'],
    [{ confidence: 1 }, 'confidence: 1'],
    [{ confidence: Number.NaN }, 'confidence: NaN'],
    [{ confidence: '0.9' }, 'confidence'],
    [{ sampling: { seed: -1 } }, 'sampling.seed'],
    [{ sampling: { seed: 2 ** 32 } }, 'sampling.seed'],
    [{ sampling: { design: 'all' } }, 'sampling.design'],
    [{ sampling: { interval: 'wald' } }, 'sampling.interval'],
  ])('refuse %j', (options, message) => {
    const refused = expect.objectContaining({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining(message),
    })
    expect(() => parseSampling(options as never)).toThrow(refused)
  })

  it('are refused by an exact mode, which would ignore them', () => {
    const refused = expect.objectContaining({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining('dirty-ring'),
    })
    expect(() => refuseSampling('dirty-ring', { samplePages: 512 })).toThrow(refused)
    expect(() => refuseSampling('dirty-ring', { sampling: {} })).toThrow(refused)
    expect(() => refuseSampling('dirty-ring', { confidence: 2 })).toThrow('confidence')
    // An exact figure is exact at any confidence.
    expect(() => refuseSampling('dirty-ring', { confidence: 0.9 })).not.toThrow()
  })
})

it('the costs of nested windows add up, and each report is read as often in a long curve', async () => {
  /** How often the reports of a curve of so many windows are read, and its costs. */
  const measured = async (windows: number) => {
    let reads = 0
    const initial = { ns: 10, clearNs: 3, fetchNs: 4, ioctlNs: 5, longestLockNs: 6 }
    const report = (at: number) => ({
      requestedMs: at + 1,
      lateNs: 0,
      get sync() {
        reads++
        return { ns: 100, clearNs: 30, fetchNs: 40, ioctlNs: 50, longestLockNs: at }
      },
      reap: { reapNs: 7 },
    })
    const vm = {
      dirtyLog: 'ring',
      startTracking: async () => 1,
      discardInitialLog: async () => initial,
      clear: async () => {},
      syncAt: async () => Array.from({ length: windows }, (_, at) => report(at)),
    } as unknown as NativeVirtualMachine
    const deadlines = Array.from({ length: windows }, (_, at) => at + 1)
    const rounds = await measureExactly(vm, 'dirty-rate', deadlines, undefined as never)
    return { reads, costs: rounds.map(({ cost }) => cost) }
  }
  const { costs, reads } = await measured(10)
  expect(costs).toEqual(
    Array.from({ length: 10 }, (_, at) => ({
      startNs: 11,
      syncNs: 100 * (at + 1),
      clearNs: 3 + 30 * (at + 1),
      harvestNs: 40 * (at + 1),
      reapNs: 7 * (at + 1),
      ioctlNs: 5 + 50 * (at + 1),
      longestLockNs: Math.max(6, at),
    })),
  )
  expect((await measured(1000)).reads).toBe(reads * 100)
})
