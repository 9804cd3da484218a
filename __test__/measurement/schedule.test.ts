import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type NativeVirtualMachine, native } from '../../ts/ground/native.js'
import { workload } from '../../ts/index.js'
import { Schedule } from '../../ts/measurement/schedule.js'
import { exactRounds } from '../../ts/targets/vm/exact-rounds.js'
import { toNative } from '../../ts/targets/vm/workload.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY_BYTES, sleep } from '../fixtures/machine.js'

/** The longest that the event loop is late, of the schedules that are made up here. */
const LOOP_MS = 3
/** A sum of so many numbers of so many digits, in ms. */
const ROUNDING_MS = 1e-6

describe('the schedule', () => {
  it('has deadlines at multiples, however late its rounds and their consumer were', () => {
    const round = fc.record({
      /** From the deadline to the opening of the next window. */
      lateNs: fc.integer({ min: 0, max: 300_000_000 }),
      /** How late the event loop was. */
      loopMs: fc.double({ min: 0, max: LOOP_MS, noNaN: true }),
      /** How slow the consumer was. */
      consumerMs: fc.double({ min: 0, max: 250, noNaN: true }),
    })
    fc.assert(
      fc.property(
        fc.integer({ min: 20, max: 1000 }),
        fc.double({ min: 0, max: LOOP_MS, noNaN: true }),
        fc.array(round, { minLength: 50, maxLength: 120 }),
        (every, startMs, rounds) => {
          let clock = 1000
          // This side hears of the first opening later than it was.
          const schedule = new Schedule(every, () => clock)
          const start = clock - startMs
          /** The true opening of the window, in ms from that of the first. */
          let opened = 0
          for (const { lateNs, loopMs, consumerMs } of rounds) {
            const windowMs = schedule.nextWindowMs()
            const deadline = opened + windowMs
            expect(Math.abs(deadline - Math.round(deadline / every) * every)).toBeLessThanOrEqual(
              ROUNDING_MS,
            )
            // The next one that is ahead, unless the window would have no length to speak of.
            expect(deadline).toBeGreaterThanOrEqual(clock - start - startMs - ROUNDING_MS)
            expect(windowMs).toBeGreaterThanOrEqual(every / 2 - ROUNDING_MS)
            expect(deadline).toBeLessThanOrEqual(
              Math.max(clock - start + every, opened + 1.5 * every) + ROUNDING_MS,
            )
            schedule.reopened(windowMs * 1e6 + lateNs)
            opened = deadline + lateNs / 1e6
            clock = Math.max(clock, start + opened) + loopMs + consumerMs
          }
        },
      ),
    )
  })
})

describeKvm('rounds of an exact mode', () => {
  it('end at multiples from the opening of the first, by what the native thread says of each', async () => {
    const token = new (native().CancelToken)()
    const vm = await native().NativeVirtualMachine.create(
      { blocks: [{ name: 'ram', guestAddress: 0, bytes: MEMORY_BYTES }], vcpus: 1 },
      token,
    )
    onTestFinished(() => vm.close())
    await vm.loadWorkload(toNative(workload.stride({ pages: 3000 }), 1))
    await vm.start()
    /** In ms from the opening of the first window. */
    let opened = 0
    const deadlines: number[] = []
    const watched = new Proxy(vm, {
      get: (of, name: keyof NativeVirtualMachine) => {
        if (name !== 'takeAt') return typeof of[name] === 'function' ? of[name].bind(of) : of[name]
        return async (...args: Parameters<NativeVirtualMachine['takeAt']>) => {
          deadlines.push(opened + args[1])
          const taken = await vm.takeAt(...args)
          opened += taken.reopenedNs / 1e6
          return taken
        }
      },
    })
    let round = 0
    for await (const { requestedMs } of exactRounds(watched, 12, token)) {
      expect(requestedMs % 12).toBe(0)
      if (++round === 15) break
      if (round % 4 === 0) await sleep(30)
    }
    expect(deadlines).toHaveLength(15)
    for (const deadline of deadlines) {
      expect(Math.abs(deadline - Math.round(deadline / 12) * 12)).toBeLessThanOrEqual(ROUNDING_MS)
    }
    expect(deadlines.toSorted((a, b) => a - b)).toEqual(deadlines)
    // Each one later than the one before.
    expect(new Set(deadlines.map(Math.round)).size).toBe(15)
  })
})
