/** The history of a dashboard: what it keeps within its limits, and what it drops first. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DashboardEvent } from '../../ts/dashboard/events.js'
import { decodeFrame } from '../../ts/dashboard/frames.js'
import { History, type StoredEvent } from '../../ts/dashboard/history.js'
import { curveEvent, goneEvent, measuredEvent, targetEvent } from '../fixtures/dashboard.js'

const TARGETS = ['guest:idle', 'pid:1', 'libvirt:web']

const anyAdded: fc.Arbitrary<DashboardEvent> = fc
  .record({
    target: fc.constantFrom(...TARGETS),
    at: fc.nat(20_000),
    kind: fc.constantFrom('target', 'measured', 'measured', 'measured', 'curve', 'gone'),
    cells: fc.nat(200),
  })
  .map(({ target, at, kind, cells }) => {
    if (kind === 'target') return targetEvent(target, at)
    if (kind === 'curve') return curveEvent(target, at)
    return kind === 'gone' ? goneEvent(target, at) : measuredEvent(target, at, cells)
  })

/** Everything that is kept, in its order. */
function kept(history: History): StoredEvent[] {
  const events: StoredEvent[] = []
  for (let seq = 0; ; ) {
    const event = history.after(seq)
    if (event === undefined) return events
    events.push(event)
    seq = event.seq
  }
}

describe('the history', () => {
  it('has every event that it does not say to have dropped, and how each target is', () => {
    fc.assert(
      fc.property(
        fc.array(anyAdded, { maxLength: 120 }),
        fc.record({
          figureBytes: fc.integer({ min: 1, max: 40_000 }),
          cellBytes: fc.integer({ min: 1, max: 20_000 }),
          ageMs: fc.integer({ min: 1, max: 20_000 }),
        }),
        (events, limits) => {
          const history = new History(limits)
          const newest = new Map<string, number>()
          for (const [at, event] of events.entries()) {
            expect(history.add(event).seq).toBe(at + 1)
            if (event.kind === 'gone')
              for (const name of newest.keys()) if (name.endsWith(event.target)) newest.delete(name)
            if (event.kind !== 'gone') newest.set(`${event.kind} ${event.target}`, at + 1)
            // What a target is now is given away only where nothing else is left.
            const stated = new Set(history.newest().map(({ seq }) => seq))
            const given = [...newest].filter(([, seq]) => !stated.has(seq))
            if (given.length > 0) expect(kept(history)).toHaveLength(stated.size)
            for (const [name] of given) newest.delete(name)
          }
          const seqs = kept(history).map(({ seq }) => seq)
          expect(seqs).toEqual([...new Set(seqs)].sort((one, other) => one - other))
          const notDropped = events.map((_, at) => at + 1)
          expect(seqs).toEqual(
            expect.arrayContaining(notDropped.filter(seq => seq > history.droppedUpTo)),
          )
          const stated = history.newest().map(({ seq }) => seq)
          expect(seqs).toEqual(expect.arrayContaining(stated))
          expect(stated).toEqual([...newest.values()].sort((one, other) => one - other))
          expect(history.bytes).toBeLessThanOrEqual(limits.figureBytes + limits.cellBytes)
          expect(history.first).toBe(seqs[0] ?? events.length + 1)
          // What every event is made of comes back, with its cells or without them.
          for (const { seq, bytes } of kept(history)) {
            const [record] = decodeFrame(bytes)
            const { cells: _, ...figures } = events[seq - 1] as DashboardEvent & { cells?: object }
            expect(record).toMatchObject({ seq, event: figures })
          }
        },
      ),
    )
  })

  it('keeps within its bytes, however many events come', () => {
    const history = new History({ figureBytes: 100_000, cellBytes: 50_000 })
    for (let at = 0; at < 5_000; at++)
      history.add(measuredEvent(`pid:${at % 7}`, at, 100 + (at % 50)))
    expect(history.bytes).toBeLessThanOrEqual(150_000)
    // Half of the limits is filled, so it does not keep too little either.
    expect(history.bytes).toBeGreaterThan(75_000)
    expect(history.droppedUpTo).toBeGreaterThan(4_000)
  })

  it('keeps no event that is larger than itself, nor more targets than it has room for', () => {
    const history = new History({ figureBytes: 100_000, cellBytes: 50_000 })
    history.add(targetEvent('pid:1', 1))
    history.add({
      ...goneEvent('', 2),
      kind: 'failed',
      code: 'x'.repeat(200_000),
      message: '',
      target: 'pid:2',
    })
    expect(kept(history).map(({ seq }) => seq)).toEqual([1])
    expect(history.droppedUpTo).toBe(2)
    for (let at = 3; at < 2_000; at++) history.add(targetEvent(`pid:${at}`, at))
    expect(history.bytes).toBeLessThanOrEqual(100_000)
    expect(history.bytes).toBeGreaterThan(90_000)
    expect(kept(history).at(-1)?.seq).toBe(1_999)
  })

  it('drops cells before it drops figures, and the oldest ones first', () => {
    const history = new History({ cellBytes: 4_000 })
    for (let at = 0; at < 100; at++) history.add(measuredEvent('guest:idle', at, 1_000))
    const have = kept(history).map(({ bytes }) => {
      const [record] = decodeFrame(bytes)
      return record !== undefined && 'event' in record && 'cells' in record.event
    })
    expect(have).toHaveLength(100)
    expect(history.droppedUpTo).toBe(0)
    const first = have.indexOf(true)
    expect(first).toBeGreaterThan(90)
    expect(have.slice(first)).not.toContain(false)
  })

  it('takes from the target that has the most', () => {
    const history = new History({ figureBytes: 20_000 })
    for (let at = 0; at < 5; at++) history.add(measuredEvent('pid:1', at))
    for (let at = 0; at < 1_000; at++) history.add(measuredEvent('pid:2', at))
    const left = kept(history).filter(({ target }) => target === 'pid:1')
    expect(left.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5])
  })

  it('drops what is too old, but not how a target is', () => {
    const history = new History({ ageMs: 60_000 })
    history.add(targetEvent('pid:1', 0))
    history.add(measuredEvent('pid:1', 1))
    history.add(measuredEvent('pid:1', 2))
    history.add(measuredEvent('pid:2', 100_000))
    expect(kept(history).map(({ seq }) => seq)).toEqual([1, 3, 4])
  })

  it('forgets a target that is gone for long', () => {
    const history = new History({ ageMs: 60_000 })
    for (let at = 0; at < 1_000; at++) {
      history.add(targetEvent(`pid:${at}`, at * 10_000))
      history.add(goneEvent(`pid:${at}`, at * 10_000))
    }
    expect(kept(history).length).toBeLessThanOrEqual(2 * 7)
  })
})
