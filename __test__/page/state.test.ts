// What the page makes of events: series with their gaps, columns of cells, and bounded memory.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seriesOf } from '../../page/charts/series.js'
import { layoutOf, pagesOf, placeOf, UNKNOWN } from '../../page/state/cells.js'
import { Log } from '../../page/state/log.js'
import { reduceAll } from '../../page/state/reduce.js'
import { emptyState, type PageEvent, type Vm } from '../../page/state/state.js'
import { trendOf } from '../../page/state/trend.js'
import { type Sight, statusOf } from '../../page/views/vm-status.js'
import { packEvent } from '../../ts/dashboard/frames.js'
import type { PackedEvent } from '../../ts/dashboard/records.js'
import type { DirtyCells } from '../../ts/results/cells.js'

const TARGET = 'guest:stride,pages=1'
const SECOND = 1000

function measured(
  at: number,
  bytesPerSecond = 4096,
  more: Partial<Extract<PackedEvent, { kind: 'measured' }>> = {},
): PackedEvent {
  return {
    kind: 'measured',
    target: TARGET,
    at,
    mode: 'dirty-bitmap',
    requestedMs: SECOND,
    windowNs: SECOND * 1e6,
    bytesPerSecond,
    interval: { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 },
    complete: true,
    warnings: [],
    ...more,
  }
}

function withCells(at: number, cells: DirtyCells): PackedEvent {
  const event = packEvent({ ...(measured(at) as object), cells } as never)
  return event
}

function vmAfter(events: readonly PageEvent[]): Vm {
  const vm = reduceAll(emptyState, events).vms.get(TARGET)
  if (vm === undefined) throw new Error('there is no VM')
  return vm
}

const rateOf = ({ bytesPerSecond }: { bytesPerSecond: number }): number => bytesPerSecond

describe('a log', () => {
  test('has what a list has that grows, and forgets whole chunks of the oldest items', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2000 }),
        fc.integer({ min: 1, max: 900 }),
        (n, most) => {
          let log = Log.empty<number>()
          for (let item = 0; item < n; item++) log = log.append(item).keep(most)
          expect(log.length).toBeGreaterThanOrEqual(Math.min(n, most))
          expect(log.length).toBeLessThan(most + 2 * 256)
          expect(log.slice()).toEqual(
            Array.from({ length: log.length }, (_, at) => n - log.length + at),
          )
          expect(log.firstWhere(item => item >= n - 5)).toBe(log.length - Math.min(5, log.length))
        },
      ),
    )
  })

  test('is not changed by what is appended to it, nor by a second branch', () => {
    const base = [1, 2, 3].reduce((log, item) => log.append(item), Log.empty<number>())
    const one = base.append(4)
    const other = base.append(5)
    expect([base.slice(), one.slice(), other.slice()]).toEqual([
      [1, 2, 3],
      [1, 2, 3, 4],
      [1, 2, 3, 5],
    ])
  })
})

describe('the series of a VM', () => {
  const all = { from: 0, to: 1e6 }

  test('a figure stands from the end of the window before until its own', () => {
    const { moments } = vmAfter([measured(10_000, 1), measured(20_000, 2), measured(30_000, 3)])
    const { times, columns, gaps } = seriesOf(moments, all, [rateOf])
    expect(times).toEqual([9, 10, 20, 30])
    expect(columns).toEqual([[1, 1, 2, 3]])
    expect(gaps).toEqual([])
  })

  test('the windows that are missing are a gap', () => {
    const { moments } = vmAfter(
      [1, 2, 3, 4, 9, 10].map(second => measured(second * SECOND, second)),
    )
    const { columns, gaps } = seriesOf(moments, all, [rateOf])
    expect(columns).toEqual([[1, 1, 2, 3, 4, null, 9, 9, 10]])
    expect(gaps).toEqual([{ from: 4000, to: 8000, why: 'between', text: 'Not measured.' }])
  })

  test.each([
    ['failed', { kind: 'failed', code: 'ERR_PAUSED', message: 'no', retryMs: 5 }],
    ['paused', { kind: 'target', memoryBytes: 1, state: 'paused' }],
    ['migrating', { kind: 'migrating', migration: { status: 'active', underWay: true } }],
    ['gone', { kind: 'gone' }],
    ['missed', { kind: 'missed' }],
  ] as const)('%s is a gap from then on, until the next window', (why, event) => {
    const told = { target: TARGET, at: 2500, ...event } as PageEvent
    const before = vmAfter([measured(1000), measured(2000), told])
    expect(seriesOf(before.moments, { from: 0, to: 7000 }, [rateOf]).gaps).toMatchObject([
      { from: 2500, to: 7000, why },
    ])
    const after = vmAfter([measured(1000), measured(2000), told, measured(6000)])
    expect(seriesOf(after.moments, all, [rateOf]).gaps).toMatchObject([
      { from: 2500, to: 5000, why },
    ])
    expect(after.failure).toBeUndefined()
    expect(after.isGone).toBe(false)
  })

  test('windows whose clocks differ a little do not overlap and leave no gap', () => {
    const { moments } = vmAfter(
      [1, 2, 3, 4].map(second => measured(second * SECOND, 1, { windowNs: 1.01e9 })),
    )
    const { times, gaps } = seriesOf(moments, all, [rateOf])
    expect(times.every((time, at) => at === 0 || time > (times[at - 1] ?? 0))).toBe(true)
    expect(gaps).toEqual([])
  })

  test('only what is in view is given, with the window that reaches into it', () => {
    const { moments } = vmAfter([1, 2, 3, 4, 5].map(second => measured(second * SECOND, second)))
    const { windows } = seriesOf(moments, { from: 2500, to: 3500 }, [rateOf])
    expect(windows.map(rateOf)).toContain(3)
    expect(windows.map(rateOf)).not.toContain(5)
  })
})

describe('cells', () => {
  const MIB = 2 ** 20
  const cells: DirtyCells = {
    cellBytes: 2 * MIB,
    blocks: [
      { block: 'high', guestAddress: 2 ** 32, bytes: 3 * MIB, pages: [7, 5] },
      { block: 'rom', bytes: 2 * MIB, pages: [1] },
      { block: 'low', guestAddress: 0, bytes: 4 * MIB, pages: [0, 512] },
    ],
  }

  test('are in the order of the addresses, and those without one come last', () => {
    const column = vmAfter([withCells(1000, cells)]).cells.at(-1)
    if (column === undefined) throw new Error('there is no column')
    expect(column.layout.blocks.map(({ block }) => block)).toEqual(['low', 'high', 'rom'])
    expect([...pagesOf(column)]).toEqual([0, 512, 7, 5, 1])
    expect(placeOf(column.layout, 3)).toMatchObject({ offset: 2 * MIB, bytes: MIB })
    expect(placeOf(column.layout, 5)).toBeUndefined()
    expect(placeOf(column.layout, -1)).toBeUndefined()
  })

  test('share their layout for as long as the memory is the same', () => {
    const grown = { ...cells, blocks: cells.blocks.slice(0, 2) }
    const { cells: columns } = vmAfter([
      withCells(1000, cells),
      withCells(2000, cells),
      withCells(3000, grown),
    ])
    const [one, two, three] = columns.slice()
    expect(two?.layout).toBe(one?.layout)
    expect(three?.layout).not.toBe(one?.layout)
  })

  test.each([
    [undefined, 1],
    [0.75e9, 0.25],
    [1e9, 1],
  ])('are over the time in which the guest ran: paused for %s ns, %d s', (pausedNs, seconds) => {
    const event = { ...withCells(1000, cells), ...(pausedNs === undefined ? {} : { pausedNs }) }
    expect(vmAfter([event as PackedEvent]).cells.at(-1)?.seconds).toBe(seconds)
  })

  test('nothing is known of a cell without samples', () => {
    const sampled: DirtyCells = {
      cellBytes: MIB,
      blocks: [{ block: 'ram', bytes: 3 * MIB, pages: [0, 2.5, 0], samples: [3, 1, 0] }],
    }
    const column = vmAfter([withCells(1000, sampled)]).cells.at(-1)
    if (column === undefined) throw new Error('there is no column')
    expect([...pagesOf(column)]).toEqual([0, 2.5, UNKNOWN])
    expect(layoutOf(column.packed, undefined)).toEqual(column.layout)
  })
})

describe('a VM', () => {
  test('forgets its oldest windows and messages', () => {
    const events: PackedEvent[] = Array.from({ length: 15_000 }, (_, at) => measured(at * 100, at))
    const failures: PackedEvent[] = Array.from({ length: 2000 }, (_, at) => ({
      kind: 'failed',
      target: TARGET,
      at: 1_500_000 + at,
      code: 'ERR_MEASURING',
      message: `the ${at}th`,
      retryMs: 1,
    }))
    const vm = vmAfter([...events, ...failures])
    expect(vm.moments.length).toBeLessThan(12_600)
    expect(vm.moments.at(-2)).toMatchObject({ bytesPerSecond: 14_999 })
    expect(vm.notices.length).toBeLessThan(800)
    expect(vm.notices.at(-1)?.text).toBe('the 1999th')
  })

  test('keeps columns of cells within a budget of bytes, the newest ones', () => {
    // Pages that differ from cell to cell are packed worst: four bytes each.
    const big: DirtyCells = {
      cellBytes: 2 ** 20,
      blocks: [
        {
          block: 'ram',
          bytes: 2 ** 36,
          pages: Array.from({ length: 2 ** 16 }, (_, at) => 2 ** 20 + at),
        },
      ],
    }
    const event = withCells(0, big)
    const vm = vmAfter(Array.from({ length: 900 }, (_, at) => ({ ...event, at: at * SECOND })))
    const bytes = vm.cells.slice().reduce((sum, { packed }) => sum + packed.data.length, 0)
    expect(vm.cells.length).toBeGreaterThanOrEqual(256)
    expect(bytes).toBeLessThan(512 * 2 ** 18 + 2 ** 20)
    expect(vm.cells.at(-1)?.at).toBe(899 * SECOND)
    expect(vm.moments.length).toBe(900)
  })

  test('among many has less room, and all together have no more than a few', () => {
    const names = Array.from({ length: 200 }, (_, at) => `pid:${at}`)
    const events = Array.from({ length: 2_000 }, (_, at) =>
      names.map((target): PackedEvent => ({ ...measured(at * SECOND), target })),
    ).flat()
    const { vms } = reduceAll(emptyState, events)
    const lengths = [...vms.values()].map(({ moments }) => moments.length)
    expect(lengths).toHaveLength(200)
    // A chunk or two more than the part that each has of 16 times 12,000.
    expect(Math.max(...lengths)).toBeLessThan(960 + 2 * 256)
    expect(Math.min(...lengths)).toBeGreaterThanOrEqual(960)
    expect(vms.get('pid:7')?.moments.at(-1)?.at).toBe(1_999 * SECOND)
  })

  test('that is gone is forgotten when many have gone after it', () => {
    const events = Array.from({ length: 100 }, (_, at): PackedEvent[] => [
      { ...measured(at * SECOND), target: `pid:${at}` },
      { kind: 'gone', target: `pid:${at}`, at: at * SECOND + 1 },
    ]).flat()
    const { vms } = reduceAll(emptyState, [measured(0), ...events])
    expect([...vms.keys()]).toEqual([
      TARGET,
      ...Array.from({ length: 64 }, (_, at) => `pid:${36 + at}`),
    ])
  })

  test('that another run of the server does not serve is gone', () => {
    const served = (targets: string[], areAll: boolean): PageEvent => ({
      kind: 'served',
      at: 0,
      targets,
      areAll,
    })
    const before = [served([TARGET], true), measured(1000), served([], false)]
    expect(vmAfter(before).isGone).toBe(false)
    const after = vmAfter([...before, served(['pid:1'], true), served(['pid:1'], true)])
    expect(after.isGone).toBe(true)
    expect(after.moments.at(-1)).toMatchObject({ kind: 'gap', why: 'gone', at: 1000 })
    expect(after.notices.length).toBe(1)
    expect(vmAfter([...before, served([TARGET], true)]).isGone).toBe(false)
    expect(vmAfter([...before, served([], true), served([TARGET], true)]).isGone).toBe(false)
  })

  test.each([
    { kind: 'failed', code: 'ERR_TARGET_ABSENT', message: 'no', retryMs: 5 },
    { kind: 'migrating', migration: { status: 'active', underWay: true } },
  ] as const)('that comes back is not gone, also if it is $kind', event => {
    const gone: PackedEvent = { kind: 'gone', target: TARGET, at: 2000 }
    const vm = vmAfter([measured(1000), gone, { ...event, target: TARGET, at: 3000 }])
    expect(vm.isGone).toBe(false)
    expect(vm.moments.at(-1)).toMatchObject({ kind: 'gap', why: event.kind })
  })

  test('a curve that fails is a message, and no gap', () => {
    const vm = vmAfter([
      measured(1000),
      { kind: 'failed', target: TARGET, at: 1500, code: 'ERR_ARGUMENT', message: 'no curve' },
    ])
    expect(vm.failure).toBeUndefined()
    expect(vm.moments.length).toBe(1)
    expect(vm.notices.at(-1)?.text).toBe('no curve')
  })

  test('a warning is one message for as long as it stays', () => {
    const warnings = [{ code: 'RING_OVERRUN', message: 'lost' }] as const
    const vm = vmAfter(
      [1, 2, 3].map(second => measured(second * SECOND, 1, { complete: false, warnings })),
    )
    expect(vm.notices.slice()).toEqual([{ at: 1000, code: 'RING_OVERRUN', text: 'lost' }])
  })

  test('the same events give the same state, however they are divided', () => {
    const events = [1, 2, 3, 4, 5].map(second => measured(second * SECOND, second))
    const atOnce = reduceAll(emptyState, events)
    const oneByOne = events.reduce((state, event) => reduceAll(state, [event]), emptyState)
    const flat = (vm: Vm | undefined) => vm && { ...vm, moments: vm.moments.slice() }
    expect(flat(oneByOne.vms.get(TARGET))).toEqual(flat(atOnce.vms.get(TARGET)))
  })
})

describe('a trend', () => {
  const trend = (rates: readonly number[]) =>
    trendOf(vmAfter(rates.map((rate, at) => measured((at + 1) * SECOND, rate))).moments)

  test('compares the newest third with the oldest one', () => {
    expect(trend([1, 1, 1, 1, 2, 2])).toEqual({ direction: 'rising', change: 1 })
    expect(trend([2, 2, 2, 2, 1, 1])).toEqual({ direction: 'falling', change: -0.5 })
    expect(trend([100, 101, 99, 100, 104, 100]).direction).toBe('steady')
    expect(trend([1, 2, 3]).direction).toBe('unknown')
    expect(trend([0, 0, 0, 0, 0, 0])).toEqual({ direction: 'steady', change: 0 })
  })
})

describe('the state of a VM', () => {
  const every = (seconds: number, windows = 6): Vm => {
    const events = Array.from({ length: windows }, (_, at) => measured((at + 1) * seconds * SECOND))
    return reduceAll(emptyState, events).vms.get(TARGET) as Vm
  }
  const seenAfter = (vm: Vm, seconds: number, sight: Sight = 'live') => {
    const { kind, text, isNow } = statusOf(vm, (vm.last?.at ?? 0) + seconds * SECOND, sight)
    return [kind, text, isNow]
  }

  test('an old figure is not one of now', () => {
    // The server says at least every 15 s what time it is.
    expect(seenAfter(every(1), 2)).toEqual(['measured', 'measured 2 s ago', true])
    expect(seenAfter(every(1), 15)).toEqual(['measured', 'measured 15 s ago', true])
    expect(seenAfter(every(1), 16)).toEqual(['overdue', 'overdue, measured 16 s ago', false])
    expect(seenAfter(every(10), 25)).toEqual(['measured', 'measured 25 s ago', true])
    expect(seenAfter(every(10), 26)).toEqual(['overdue', 'overdue, measured 26 s ago', false])
    // A VM that is measured rarely is not late, but its figure is not of now either.
    expect(seenAfter(every(600), 60)).toEqual(['measured', 'measured 60 s ago', true])
    expect(seenAfter(every(600), 61)).toEqual(['measured', 'measured 61 s ago', false])
    expect(seenAfter(every(600), 1501)).toEqual(['overdue', 'overdue, measured 25 min ago', false])
    // After one window nobody knows when the next one should come.
    expect(seenAfter(every(1, 1), 90)).toEqual(['measured', 'measured 2 min ago', false])
  })

  test('without a server that measures, only the time of the figure is known', () => {
    const time = /at \d\d:\d\d:\d\d$/
    expect(seenAfter(every(1), 0, 'recording')).toEqual([
      'measured',
      expect.stringMatching(time),
      false,
    ])
    expect(seenAfter(every(1), 0, 'lost')).toEqual(['overdue', expect.stringMatching(time), false])
  })
})
