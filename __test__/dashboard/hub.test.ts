/** Who watches gets every event, or is told that some are missing, and costs no memory. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeFrame, isEvent } from '../../ts/dashboard/frames.js'
import { History, type HistoryLimits, type StoredEvent } from '../../ts/dashboard/history.js'
import { Hub, type Position, type Subscription } from '../../ts/dashboard/hub.js'
import type { ReaderLimits } from '../../ts/dashboard/reader.js'
import type { Control, LiveRecord } from '../../ts/dashboard/records.js'
import { curveEvent, measuredEvent, targetEvent } from '../fixtures/dashboard.js'

const ABOUT = { version: '0.1.0', run: 'this run', source: 'live' } as const

function hubOf(limits: Partial<ReaderLimits & HistoryLimits> = {}): Hub {
  return new Hub(new History(limits), ABOUT, () => ['pid:1'], limits)
}

/** Takes a frame when it is asked to, as a connection does. */
class SlowSink {
  readonly records: LiveRecord[] = []
  frames = 0
  #taken: (() => void) | undefined

  send(frame: Uint8Array): Promise<void> {
    expect(this.#taken, 'a frame was sent before the last one had left').toBeUndefined()
    this.frames++
    this.records.push(...decodeFrame(frame))
    return new Promise(resolve => {
      this.#taken = resolve
    })
  }

  /** Lets the last frame leave. */
  async take(): Promise<boolean> {
    const taken = this.#taken
    this.#taken = undefined
    taken?.()
    await turns()
    return this.#taken !== undefined
  }

  async takeAll(): Promise<void> {
    while (await this.take());
  }

  get seqs(): number[] {
    return this.records.filter(isEvent).map(({ seq }) => seq)
  }

  controls<K extends Control['kind']>(kind: K): Extract<Control, { kind: K }>[] {
    return this.records
      .flatMap(record => (isEvent(record) ? [] : [record.control]))
      .filter((control): control is Extract<Control, { kind: K }> => control.kind === kind)
  }
}

/** Lets everything happen that waits for nothing. */
const turns = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, at) => from + at)

describe('a reader', () => {
  it('is told first who speaks, then the history, then what happens', async () => {
    const hub = hubOf()
    for (let at = 0; at < 3; at++) hub.publish(measuredEvent('pid:1', at))
    const sink = new SlowSink()
    hub.subscribe(sink)
    expect(sink.records).toEqual([
      {
        control: {
          kind: 'hello',
          protocol: 1,
          ...ABOUT,
          first: 1,
          last: 3,
          targets: ['pid:1'],
        },
      },
    ])
    await sink.takeAll()
    hub.publish(measuredEvent('pid:1', 3))
    await sink.takeAll()
    expect(sink.seqs).toEqual([1, 2, 3, 4])
    const caughtUp = sink.records.findIndex(
      record => !isEvent(record) && record.control.kind === 'caught-up',
    )
    expect(sink.records.slice(caughtUp).map(record => isEvent(record) && record.seq)).toEqual([
      false,
      4,
    ])
  })

  it('is told that it is caught up if there is no history', async () => {
    const sink = new SlowSink()
    hubOf().subscribe(sink)
    await sink.takeAll()
    expect(sink.controls('caught-up')).toEqual([{ kind: 'caught-up', last: 0 }])
  })

  it.each([
    { what: 'only what it has missed', position: { run: 'this run', after: 2 }, seqs: [3, 4] },
    {
      what: 'everything after another run',
      position: { run: 'another', after: 2 },
      seqs: [1, 2, 3, 4],
    },
    {
      what: 'everything if it asks for the future',
      position: { run: 'this run', after: 9 },
      seqs: [1, 2, 3, 4],
    },
  ])('that comes back gets $what', async ({ position, seqs }) => {
    const hub = hubOf()
    for (let at = 0; at < 4; at++) hub.publish(measuredEvent('pid:1', at))
    const sink = new SlowSink()
    hub.subscribe(sink, position)
    await sink.takeAll()
    expect(sink.seqs).toEqual(seqs)
    expect(sink.controls('gap')).toEqual([])
  })

  it('that comes back too late is told what is gone', async () => {
    const hub = hubOf({ figureBytes: 5_000 })
    for (let at = 0; at < 100; at++) hub.publish(measuredEvent('pid:1', at))
    const upTo = hub.history.droppedUpTo
    expect(upTo).toBeGreaterThan(50)
    const sink = new SlowSink()
    hub.subscribe(sink, { run: 'this run', after: 10 })
    await sink.takeAll()
    expect(sink.controls('gap')).toEqual([{ kind: 'gap', after: 10, upTo, why: 'gone' }])
    expect(sink.seqs).toEqual(range(upTo + 1, 100))
  })

  it('that is new is not told of what was before', async () => {
    const hub = hubOf({ figureBytes: 5_000 })
    for (let at = 0; at < 100; at++) hub.publish(measuredEvent('pid:1', at))
    const sink = new SlowSink()
    hub.subscribe(sink)
    await sink.takeAll()
    expect(sink.controls('gap')).toEqual([])
  })

  it('that takes nothing is sent nothing more, and then gets how each target is', async () => {
    const hub = hubOf({ behindMs: 0 })
    const sink = new SlowSink()
    hub.subscribe(sink)
    await sink.take()
    await sink.takeAll()
    hub.publish(targetEvent('pid:1', 0))
    hub.publish(curveEvent('pid:1', 1))
    const framesBefore = sink.frames
    for (let at = 2; at < 1_000; at++) hub.publish(measuredEvent('pid:1', at, 1_000))
    await turns()
    expect(sink.frames).toBeLessThanOrEqual(framesBefore + 1)
    await new Promise(resolve => setTimeout(resolve, 2))
    const seqsBefore = sink.seqs.length
    await sink.takeAll()
    expect(sink.controls('gap')).toEqual([
      { kind: 'gap', after: expect.any(Number), upTo: 1_000, why: 'slow' },
    ])
    // The target, its curve, and its last window, of a thousand events.
    expect(sink.seqs.slice(seqsBefore).length).toBeLessThanOrEqual(3)
    expect(sink.seqs.at(-1)).toBe(1_000)
    hub.publish(measuredEvent('pid:1', 1_001))
    await sink.takeAll()
    expect(sink.seqs.at(-1)).toBe(1_001)
  })

  it('that takes nothing costs one look at all targets, however many there are', async () => {
    let looks = 0
    class CountedHistory extends History {
      override newest(): StoredEvent[] {
        looks++
        return super.newest()
      }
    }
    const hub = new Hub(new CountedHistory(), ABOUT, () => [], { behindMs: 0 })
    const sink = new SlowSink()
    hub.subscribe(sink)
    await sink.takeAll()
    hub.publish(targetEvent('pid:1', 1))
    await turns()
    for (let at = 2; at <= 200; at++) hub.publish(targetEvent(`pid:${at}`, at))
    await new Promise(resolve => setTimeout(resolve, 2))
    await sink.takeAll()
    expect(sink.seqs).toEqual(range(1, 200))
    const gaps = sink.controls('gap').length
    expect(gaps).toBeGreaterThan(0)
    expect(looks).toBe(gaps)
  })

  it('is told that the server is there while nothing happens', async () => {
    const hub = hubOf({ aliveMs: 1 })
    const sink = new SlowSink()
    const subscription = hub.subscribe(sink)
    await expect
      .poll(async () => {
        await sink.takeAll()
        return sink.controls('alive').length
      })
      .toBeGreaterThan(2)
    subscription.end()
    await sink.takeAll()
    await subscription.ended
  })

  it('gets answers of its own, and no end of them', async () => {
    const hub = hubOf()
    const sinks = [new SlowSink(), new SlowSink()]
    const [one] = sinks.map(sink => hub.subscribe(sink)) as [Subscription, Subscription]
    one.answer({ kind: 'curve-answer', target: 'pid:1', accepted: true })
    for (const sink of sinks) await sink.takeAll()
    expect(sinks.map(sink => sink.controls('curve-answer').length)).toEqual([1, 0])
    let ended = false
    void one.ended.then(() => {
      ended = true
    })
    for (let at = 0; at < 1_000; at++)
      one.answer({ kind: 'curve-answer', target: 'pid:1', accepted: false })
    await sinks[0]?.takeAll()
    expect(ended).toBe(true)
  })

  it('that is gone is forgotten', async () => {
    const hub = hubOf()
    const { ended } = hub.subscribe({ send: () => Promise.reject(new Error('gone')) })
    await ended
    hub.publish(measuredEvent('pid:1', 1))
  })

  it('has each event or is told that it is missing, however it reads and comes back', async () => {
    type Step = { readonly does: 'publish' | 'take' | 'return' | 'new'; readonly many: number }
    const anyStep: fc.Arbitrary<Step> = fc.record({
      does: fc.constantFrom('publish', 'publish', 'take', 'take', 'return', 'new'),
      many: fc.integer({ min: 1, max: 20 }),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyStep, { maxLength: 40 }),
        fc.constantFrom(3_000, 20_000, 1_000_000),
        fc.constantFrom(0, 1, 100_000),
        async (steps, figureBytes, behindMs) => {
          const hub = hubOf({ figureBytes, behindMs, frameBytes: 2_000 })
          const has = new Set<number>()
          let position: Position | undefined
          let sink = new SlowSink()
          let subscription = hub.subscribe(sink)
          /** What a page knows after a connection. */
          const read = (): void => {
            const [hello] = sink.controls('hello')
            for (const seq of sink.seqs) has.add(seq)
            for (const { after, upTo } of sink.controls('gap'))
              for (const seq of range(after + 1, upTo)) has.add(seq)
            const last = sink.seqs.at(-1)
            if (hello !== undefined && last !== undefined)
              position = { run: hello.run, after: last }
          }
          const begin = hub.history.first
          for (const { does, many } of steps) {
            if (does === 'publish')
              for (let at = 0; at < many; at++) hub.publish(measuredEvent('pid:1', at))
            else if (does === 'take') for (let at = 0; at < many; at++) await sink.take()
            else {
              read()
              subscription.end()
              sink = new SlowSink()
              const isNew = does === 'new' || position === undefined
              subscription = hub.subscribe(sink, isNew ? undefined : position)
              if (isNew) {
                // A new page begins with the oldest event that there is.
                has.clear()
                position = undefined
                for (const seq of range(1, hub.history.droppedUpTo)) has.add(seq)
              }
            }
          }
          await sink.takeAll()
          read()
          subscription.end()
          expect(range(begin, hub.history.last).filter(seq => !has.has(seq))).toEqual([])
        },
      ),
    )
  })
})
