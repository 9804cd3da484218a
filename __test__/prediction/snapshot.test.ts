/**
 * The prediction of snapshots, held against real deltas: the client 'migration' of our own VM takes
 * its dirty pages again and again, as an incremental snapshot does.
 */

import { describe, expect, it } from 'vitest'
import {
  type DirtyRateCurve,
  type VirtualMachine,
  type Workload,
  workload,
} from '../../ts/index.js'
import { predictSnapshot } from '../../ts/prediction/index.js'
import { describeKvm, full } from '../fixtures/kvm.js'
import { PAGE, running } from '../fixtures/machine.js'
import { mostMisses } from '../fixtures/misses.js'
import { exactModesHere, logFor } from '../fixtures/modes.js'

const MIB = 2 ** 20
/** The page, and two larger units that are multiples of each page size that a host may have. */
const GRANULARITIES = [PAGE, 2 ** 16, 2 ** 21].filter((size, at) => at === 0 || size > PAGE)
const ROUNDS = full ? 20 : 4
const REPEAT = full ? 5 : 2
/** Exact modes are as near as this, beside what is random in the guest itself. */
const NEAR = 0.03
/** So many standard deviations are exceeded once in a million times. */
const DEVIATIONS = 4.9

interface Delta {
  readonly seconds: number
  /** By size of granule: how many are dirty, and in how many runs. */
  readonly of: ReadonlyMap<number, { granules: number; extents: number }>
}

/** Counts granules and runs one by one. */
function counted(words: BigUint64Array, pages: number, perGranule: number): [number, number] {
  let [granules, extents, wasDirty] = [0, 0, false]
  for (let first = 0; first < pages; first += perGranule) {
    let isDirty = false
    for (let page = first; page < Math.min(first + perGranule, pages); page++)
      isDirty ||= ((words[page >> 6] ?? 0n) >> BigInt(page & 63)) % 2n === 1n
    if (isDirty) granules++
    if (isDirty && !wasDirty) extents++
    wasDirty = isDirty
  }
  return [granules, extents]
}

/** Takes the pages of the client 'migration' every `ms`. The first take has all of memory. */
async function deltasOf(vm: VirtualMachine, ms: number): Promise<Delta[]> {
  const { dirtyMemory, blocks } = vm
  await dirtyMemory.startTracking('migration')
  await dirtyMemory.discardInitialLog()
  await dirtyMemory.take('migration')
  const deltas: Delta[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const [report] = await dirtyMemory.syncAt('migration', [ms])
    const of = new Map(GRANULARITIES.map(size => [size, { granules: 0, extents: 0 }]))
    for (const { name, bytes } of blocks) {
      const words = new BigUint64Array(Math.ceil(bytes / PAGE / 64))
      await dirtyMemory.readBitmap('migration', name, words, { take: true })
      for (const [size, sum] of of) {
        const [granules, extents] = counted(words, bytes / PAGE, size / PAGE)
        sum.granules += granules
        sum.extents += extents
      }
    }
    deltas.push({ seconds: (report?.reap.windowNs ?? 0) / 1e9, of })
  }
  await dirtyMemory.stopTracking('migration')
  return deltas
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length

/**
 * How far each predicted figure is from the mean of the deltas, as a part of what it may be. A
 * guest that writes at random dirties a number of granules, and of runs, whose variance is at most
 * their mean: each of them is dirty or not, and those that are dirty make it less probable for
 * others.
 */
function errors(
  curve: DirtyRateCurve,
  deltas: readonly Delta[],
  isRandom: boolean,
): Record<string, number> {
  const interval = mean(deltas.map(({ seconds }) => seconds)) * 1000
  const found: Record<string, number> = {}
  for (const size of GRANULARITIES) {
    const { bytes, extents } = predictSnapshot(curve, {
      interval,
      bandwidth: '1GB/s',
      granularity: size,
    })
    const part = (predicted: number, name: 'granules' | 'extents'): number => {
      const real = mean(deltas.map(({ of }) => of.get(size)?.[name] ?? 0))
      const noise = isRandom ? DEVIATIONS * Math.sqrt(real * (1 / ROUNDS + 1 / REPEAT)) : 0
      // One more or less: a page of the guest's own, such as its mailbox, may be in a window or
      // not.
      return Math.abs(predicted - real) / (NEAR * real + noise + 1)
    }
    found[`bytes of ${size}`] = part((bytes.value ?? 0) / size, 'granules')
    found[`extents of ${size}`] = part(extents?.value ?? 0, 'extents')
  }
  return found
}

describe('a snapshot behind the last window', () => {
  it('has larger granules, which are all dirty sooner than pages', () => {
    // Random writes over 1 GiB: 4000 pages a second. A unit of 2 MiB is missed by all of them soon.
    const pages = 2 ** 18
    const dirty = (units: number, seconds: number): number =>
      units * -Math.expm1((-4000 * seconds) / units)
    const windows = [0.05, 0.1, 0.2, 0.5, 1, 2]
    const of = (granuleBytes: number) => {
      const dirtyGranules = windows.map(t => dirty((pages * 4096) / granuleBytes, t))
      return { granuleBytes, dirtyGranules, extents: dirtyGranules.map(count => count * 0.9) }
    }
    const curve = {
      pageSize: 4096,
      points: windows.map(t => {
        const bytesPerSecond = (dirty(pages, t) * 4096) / t
        const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
        return { windowNs: t * 1e9, pages: dirty(pages, t), bytesPerSecond, interval }
      }),
      granularities: [of(4096), of(2 ** 16), of(2 ** 21)],
      memory: { bytes: 2 ** 30 },
    }
    for (const granuleBytes of [2 ** 16, 2 ** 21]) {
      const units = 2 ** 30 / granuleBytes
      const { bytes, extents, writeAmplification } = predictSnapshot(curve, {
        interval: '10s',
        granularity: granuleBytes,
        bandwidth: '1GB/s',
      })
      const truth = dirty(units, 10) * granuleBytes
      expect(Math.abs((bytes.value ?? 0) / truth - 1)).toBeLessThan(0.05)
      expect(writeAmplification.value).toBeCloseTo(
        (bytes.value ?? 0) / (dirty(pages, 10) * 4096),
        0,
      )
      // Nobody has counted the runs of this window.
      expect(extents?.low).toBe(1)
      expect(extents?.high).toBeGreaterThan(0.95 * dirty(units, 10))
    }
  })
})

/** Guests that write at a rate which an emulated guest on a busy host keeps too. */
const guests: Record<string, (pages: number) => Workload> = {
  stride: pages => workload.stride({ pages, rate: 2000 * PAGE }),
  random: pages => workload.random({ pages, rate: 4000 * PAGE, seed: 7 }),
  'hot-cold': pages => workload.hotCold({ pages, rate: 4000 * PAGE, seed: 7 }),
}
const sizes = [64 * MIB, 256 * MIB]
const cadences = [500, 1000]
/** All of them take minutes. */
const SHORT = [
  ['stride', 64 * MIB, 500],
  ['random', 256 * MIB, 500],
  ['hot-cold', 64 * MIB, 1000],
] as const
const cases = full
  ? Object.keys(guests).flatMap(kind =>
      sizes.flatMap(bytes => cadences.map(ms => [kind, bytes, ms] as const)),
    )
  : SHORT

describeKvm('the next snapshot of our own VM', () => {
  describe.each(full ? exactModesHere : exactModesHere.slice(0, 1))('by %s', mode => {
    it.each(cases)('of %s in %i bytes every %i ms', async (kind, memory, ms) => {
      const make = guests[kind] ?? guests.stride
      const guest = make?.(memory / PAGE / 4) ?? workload.idle()
      const vm = await running(guest, { memory, ...logFor(mode) })
      const curve = await vm.measureDirtyCurve({
        windows: [ms / 2, ms, 1.2 * ms],
        granularities: GRANULARITIES,
        repeat: REPEAT,
      })
      const deltas = await deltasOf(vm, ms)
      const found = errors(curve, deltas, kind !== 'stride')
      const wrong = Object.entries(found).filter(([, part]) => !(part < 1))
      expect(wrong).toEqual([])
    })
  })

  it('is within the interval of samples', async () => {
    const vm = await running(workload.random({ pages: 8192, rate: 4000 * PAGE }), {
      memory: 64 * MIB,
    })
    const deltas = await deltasOf(vm, 500)
    const real = mean(deltas.map(({ of }) => (of.get(PAGE)?.granules ?? 0) * PAGE))
    const interval = mean(deltas.map(({ seconds }) => seconds)) * 1000
    const [count, confidence] = full ? [50, 0.95] : [4, 1 - 1e-6]
    let misses = 0
    for (let round = 0; round < count; round++) {
      const curve = await vm.measureDirtyCurve({
        mode: 'page-sampling',
        samplePages: 16_384,
        confidence,
        windows: [interval, 1.2 * interval],
      })
      const { bytes } = predictSnapshot(curve, { interval, bandwidth: '1GB/s' })
      if (real < (bytes.low ?? 0) || real > (bytes.high ?? 0)) misses++
    }
    expect(misses).toBeLessThanOrEqual(mostMisses(count, confidence))
  })
})
