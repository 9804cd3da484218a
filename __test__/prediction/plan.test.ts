/** Plans to empty a host: which VM goes, how, when, and what is refused. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  isDirtyRateError,
  type PlanMethod,
  type PlanOptions,
  type PredictionCurve,
  planMigrations,
  predictMigration,
  type VmToMove,
} from '../../ts/prediction/index.js'

const GIB = 2 ** 30
const WINDOWS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]

/** A guest that writes `hot` pages again and again, each of them every `seconds`, in `bytes`. */
function curveOf(hot: number, seconds: number, bytes: number = 4 * GIB): PredictionCurve {
  return {
    pageSize: 4096,
    points: WINDOWS.map(t => {
      const bytesPerSecond = (hot * -Math.expm1(-t / seconds) * 4096) / t
      const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
      return { windowNs: t * 1e9, bytesPerSecond, interval }
    }),
    memory: { bytes },
  }
}

const idle = curveOf(10, 1)
/** 1 GB/s for ever: it goes over 10 Gbit/s, and not over the half of it. */
const busy = curveOf(90_000, 0.3)
/** Far more than 10 Gbit/s. */
const wild = curveOf(900_000, 0.1)
const OPTIONS = { bandwidth: '10Gbit/s', downtime: '100ms' } as const

const vm = (name: string, curve: PredictionCurve): VmToMove => ({ name, curve })

describe('one VM', () => {
  it.each([idle, busy])('takes as long as it is predicted, and its overhead', curve => {
    const [one] = planMigrations([vm('a', curve)], { ...OPTIONS, overhead: '2s' }).migrations
    const alone = predictMigration(curve, OPTIONS)
    expect(alone.verdict).toBe('converges')
    for (const bound of ['low', 'value', 'high'] as const)
      expect(one?.totalMs[bound]).toBeCloseTo((alone.totalMs[bound] ?? 0) + 2000, 3)
    expect(one).toMatchObject({
      method: 'live',
      downtimeLimitMs: 100,
      downtimeMs: alone.downtimeMs,
    })
  })

  it('goes with no more downtime than it needs, and never with more than is allowed', () => {
    const least = predictMigration(wild, OPTIONS).leastDowntimeMs.high ?? 0
    const options = { ...OPTIONS, methods: ['live', 'more-downtime'] as const }
    const [one] = planMigrations([vm('a', wild)], { ...options, mostDowntime: '60s' }).migrations
    expect(one?.method).toBe('more-downtime')
    expect(one?.downtimeLimitMs).toBe(Math.ceil(least / 0.8))
    const limited = planMigrations([vm('a', wild)], { ...options, mostDowntime: least * 1.1 })
    expect(limited.migrations[0]?.downtimeLimitMs).toBeCloseTo(least * 1.1, 6)
    const few = planMigrations([vm('a', wild)], { ...options, mostDowntime: least * 0.99 })
    expect(few.migrations).toEqual([])
    expect(few.staying[0]).toMatchObject({ verdict: 'stalls', leastDowntimeMs: least })
  })

  it('goes compressed as over a link that carries more', () => {
    const memory = {
      bytes: 4 * GIB,
      compressedRatio: { value: 0.2, low: 0.2, high: 0.2 },
      compressionBytesPerSecond: 1e9,
    }
    const options = { ...OPTIONS, methods: ['live', 'compression'] as const }
    const curve = { ...curveOf(200_000, 0.3), memory }
    const [one] = planMigrations([vm('a', curve)], options).migrations
    const faster = predictMigration(curve, { ...OPTIONS, bandwidth: '50Gbit/s' })
    expect(one).toMatchObject({ method: 'compression', channels: 7 })
    for (const bound of ['low', 'value', 'high'] as const)
      expect(one?.totalMs[bound]).toBeCloseTo(faster.totalMs[bound] ?? 0, 6)
    expect(planMigrations([vm('a', curve)], { ...options, channels: 6 }).migrations).toEqual([])
  })

  it('is copied once by a shutdown, and once more where it is dirty by post-copy', () => {
    const options = { ...OPTIONS, downtime: '1ms', overhead: '1s' }
    const seconds = (method: PlanMethod): number =>
      (planMigrations([vm('a', wild)], { ...options, methods: [method] }).totalMs.value ?? 0) / 1000
    const once = (4 * GIB * (4104 / 4096)) / 1.25e9
    expect(seconds('shutdown')).toBeCloseTo(1 + once, 3)
    // All of the hot pages are dirty again after a pass.
    expect(seconds('post-copy')).toBeCloseTo(1 + once + (900_000 * 4104) / 1.25e9, 1)
  })

  it('takes the first method by which it surely goes', () => {
    const by = (methods: PlanMethod[]): string | undefined =>
      planMigrations([vm('a', wild)], { ...OPTIONS, methods }).migrations[0]?.method
    expect(by(['live', 'shutdown', 'post-copy'])).toBe('shutdown')
    expect(by(['live', 'post-copy', 'shutdown'])).toBe('post-copy')
    expect(by(['live'])).toBeUndefined()
  })
})

describe('a VM that stays', () => {
  it('says why, and what would help', () => {
    const { staying, migrations, totalMs } = planMigrations([vm('a', wild), vm('b', idle)], OPTIONS)
    expect(migrations.map(({ name }) => name)).toEqual(['b'])
    expect(totalMs.value).toBe(migrations[0]?.totalMs.value)
    expect(staying).toHaveLength(1)
    expect(staying[0]).toMatchObject({ name: 'a', verdict: 'stalls' })
    expect(staying[0]?.wouldGoBy).toEqual(['post-copy', 'shutdown'])
    expect(staying[0]?.reason).toContain('A live migration does not end.')
    const longer = Math.ceil(staying[0]?.leastDowntimeMs ?? 0)
    expect(
      planMigrations([vm('a', wild)], { ...OPTIONS, downtime: longer + 1 }).migrations,
    ).toHaveLength(1)
  })

  it('does not go where the curve does not tell', () => {
    const wide = {
      ...busy,
      points: busy.points.map(point => ({
        ...point,
        interval: { low: 0, high: point.bytesPerSecond * 9, confidence: 0.95 },
      })),
    }
    const [one] = planMigrations([vm('a', wide)], OPTIONS).staying
    expect(one).toMatchObject({ verdict: 'uncertain' })
  })
})

describe('several VMs', () => {
  it('that need the whole link never share it', () => {
    const vms = ['a', 'b', 'c', 'd'].map(name => vm(name, busy))
    const idles = ['e', 'f', 'g', 'h', 'i', 'j', 'k'].map(name => vm(name, curveOf(10, 1, GIB / 4)))
    const half = predictMigration(busy, { ...OPTIONS, bandwidth: '5Gbit/s' })
    expect(half.verdict).not.toBe('converges')
    const { migrations } = planMigrations([...vms, ...idles], { ...OPTIONS, overhead: '5s' })
    const busyOf = (stage: number) =>
      migrations.filter(one => one.stage === stage && vms.some(({ name }) => name === one.name))
    // One of them may wait at the end of a lane until the others are over. The rest go alone.
    const [one, ...others] = busyOf(1)
    expect(others).toEqual([])
    const lane = migrations.filter(({ stage, lane: of }) => stage === 1 && of === one?.lane)
    expect(lane.at(-1)?.name).toBe(one?.name)
    expect(busyOf(2)).toHaveLength(one === undefined ? 4 : 3)
    const lanes = migrations.filter(({ stage }) => stage === 2).map(({ lane: of }) => of)
    expect(new Set(lanes)).toEqual(new Set([1]))
    const count = Math.max(...migrations.map(({ lane }) => lane))
    expect(count).toBeGreaterThan(1)
  })

  it('use a link that carries more than one of them can use', () => {
    const vms = ['a', 'b', 'c', 'd'].map(name => vm(name, idle))
    const wide = { ...OPTIONS, bandwidth: '40Gbit/s', bandwidthPerVm: '10Gbit/s' }
    const { totalMs, oneByOneMs, migrations } = planMigrations(vms, wide)
    expect(new Set(migrations.map(({ lane }) => lane)).size).toBe(4)
    expect(totalMs.value).toBeCloseTo(oneByOneMs / 4, 3)
    expect(planMigrations(vms, { ...wide, parallel: 1 }).totalMs.value).toBeCloseTo(oneByOneMs, 3)
  })

  it('that are compressed go alone', () => {
    const memory = { bytes: GIB, compressedRatio: { value: 0.2, low: 0.2, high: 0.2 } }
    const pressed = { ...curveOf(200_000, 0.3), memory }
    const names = ['a', 'b', 'c']
    const { migrations } = planMigrations(
      names.flatMap(name => [vm(name, pressed), vm(`idle ${name}`, idle)]),
      {
        ...OPTIONS,
        bandwidth: '20Gbit/s',
        bandwidthPerVm: '10Gbit/s',
        methods: ['live', 'compression'],
      },
    )
    const alone = migrations.filter(({ method }) => method === 'compression')
    expect(alone).toHaveLength(3)
    for (const one of alone) {
      const beside = migrations.filter(({ stage }) => stage === one.stage)
      expect(new Set(beside.map(({ lane }) => lane)).size).toBe(1)
    }
  })

  it('are no VMs', () => {
    expect(planMigrations([], OPTIONS)).toMatchObject({
      migrations: [],
      staying: [],
      totalMs: { value: 0, low: 0, high: 0 },
      oneByOneMs: 0,
    })
  })
})

const vms = (most: number) =>
  fc
    .array(
      fc.record({
        hot: fc.integer({ min: 10, max: 200_000 }),
        seconds: fc.double({ min: 0.05, max: 60, noNaN: true }),
        gib: fc.constantFrom(1, 2, 4),
      }),
      { minLength: 1, maxLength: most },
    )
    .map(list =>
      list.map(({ hot, seconds, gib }, at) => vm(`vm${at}`, curveOf(hot, seconds, gib * GIB))),
    )
const options = fc.record({
  bandwidth: fc.double({ min: 1e8, max: 5e9, noNaN: true }),
  downtime: fc.double({ min: 20, max: 2000, noNaN: true }),
  part: fc.constantFrom(1, 0.6, 0.25),
  overhead: fc.constantFrom(0, 500, 5000),
  methods: fc.constantFrom<PlanMethod[]>(['live'], ['live', 'post-copy'], ['shutdown']),
})
const RUNS = { numRuns: process.env.DIRTYRATE_TEST_FULL === '1' ? 300 : 25 }

describe('each plan', () => {
  const planned = (list: VmToMove[], given: Partial<PlanOptions> & { part: number }) => {
    const { part, ...rest } = given
    const bandwidth = Number(given.bandwidth)
    return planMigrations(list, { ...(rest as PlanOptions), bandwidthPerVm: bandwidth * part })
  }

  it('has each VM exactly once, in lanes without gaps, and is not longer than one by one', () => {
    fc.assert(
      fc.property(vms(9), options, (list, given) => {
        const { migrations, staying, totalMs, oneByOneMs } = planned(list, given)
        const names = [...migrations, ...staying].map(({ name }) => name)
        expect(names.sort()).toEqual(list.map(({ name }) => name).sort())
        expect(totalMs.value).toBeLessThanOrEqual(oneByOneMs * (1 + 1e-9))
        expect(totalMs.low).toBeLessThanOrEqual(totalMs.value ?? 0)
        expect(totalMs.high ?? Infinity).toBeGreaterThanOrEqual(totalMs.value ?? 0)
        const ends = migrations.map(one => (one.startMs.value ?? 0) + (one.totalMs.value ?? 0))
        expect(Math.max(0, ...ends)).toBeCloseTo(totalMs.value ?? 0, 3)
        for (const [at, { stage, lane, startMs }] of migrations.entries()) {
          const before = migrations[at - 1]
          const isNext = before?.stage === stage && before.lane === lane
          if (isNext) expect(startMs.value).toBeCloseTo(ends[at - 1] ?? 0, 3)
        }
      }),
      RUNS,
    )
  })

  it.each([
    ['a few', 4, 3],
    ['many one by one', 12, 1],
  ])('of %s VMs is no longer with more bandwidth', (_, most, parallel) => {
    fc.assert(
      fc.property(
        vms(most),
        options,
        // Less than the model's own error, 3 %, is no difference.
        fc.double({ min: 1.03, max: 8, noNaN: true }),
        (list, given, more) => {
          const base = planned(list, { ...given, parallel })
          const wider = planned(list, { ...given, parallel, bandwidth: given.bandwidth * more })
          const methods = ({ migrations }: typeof base): string =>
            list.map(({ name }) => migrations.find(one => one.name === name)?.method).join()
          // No VM that goes would stay. One that goes by a gentler method may take longer.
          expect(wider.migrations.length).toBeGreaterThanOrEqual(base.migrations.length)
          if (methods(base) !== methods(wider)) return
          expect(wider.totalMs.value).toBeLessThanOrEqual((base.totalMs.value ?? 0) * (1 + 1e-6))
        },
      ),
      RUNS,
    )
  })
})

describe('a wrong curve or option is refused', () => {
  const refused = (list: unknown, given: unknown): string => {
    try {
      planMigrations(list as VmToMove[], given as PlanOptions)
    } catch (error) {
      if (isDirtyRateError(error, 'ERR_ARGUMENT')) return error.message
      throw error
    }
    return 'nothing'
  }
  it.each([
    [[vm('a', idle), vm('a', idle)], OPTIONS, "vms: 'a' is there twice"],
    [[vm('', idle)], OPTIONS, 'vms[0].name'],
    [[{ name: 'a', curve: {} }], OPTIONS, 'vms[0].curve'],
    [[{ name: 'a', curve: { ...idle, memory: undefined } }], OPTIONS, 'a: memory:'],
    [['a'], OPTIONS, 'vms[0]'],
    ['a', OPTIONS, 'vms'],
    [[], { downtime: '1s' }, 'bandwidth'],
    [[], { ...OPTIONS, methods: [] }, 'methods'],
    [[], { ...OPTIONS, methods: ['fly'] }, "methods: 'fly' is not known"],
    [[], { ...OPTIONS, methods: ['live', 'live'] }, 'twice'],
    [[], { ...OPTIONS, methods: ['more-downtime'] }, 'mostDowntime: it is missing'],
    [[], { ...OPTIONS, mostDowntime: '1s' }, 'mostDowntime: it is for'],
    [[], { ...OPTIONS, methods: ['more-downtime'], mostDowntime: '50ms' }, 'shorter than downtime'],
    [[], { ...OPTIONS, methods: ['post-copy'], profile: 'cloud-hypervisor' }, 'has no post-copy'],
    [[], { ...OPTIONS, methods: ['compression'], profile: 'qemu-4.2' }, 'has no compression'],
    [[], { ...OPTIONS, parallel: 0 }, 'parallel'],
    [[], { ...OPTIONS, bandwidthPerVm: '0B/s' }, 'bandwidthPerVm'],
    [[], { ...OPTIONS, overhead: '-1s' }, 'overhead'],
    [[], { ...OPTIONS, lanes: 3 }, "'lanes' is not known"],
  ])('%#', (list, given, message) => expect(refused(list, given)).toContain(message))
})
