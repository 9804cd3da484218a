import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Schedule } from '../../ts/measurement/watch.js'

/** The longest sync, and the longest that the event loop is late, of the schedules that are made up here. */
const SYNC_MS = 5
const LOOP_MS = 3

describe('the schedule', () => {
  it('has deadlines at multiples, and no error of it adds up', () => {
    const round = fc.record({
      lateNs: fc.integer({ min: 0, max: 300_000_000 }),
      syncNs: fc.integer({ min: 0, max: SYNC_MS * 1e6 }),
      /** Where in the sync the next window opened. */
      opens: fc.double({ min: 0, max: 1, noNaN: true }),
      /** How late the event loop was. */
      loopMs: fc.double({ min: 0, max: LOOP_MS, noNaN: true }),
      /** How slow the consumer was. */
      consumerMs: fc.double({ min: 0, max: 250, noNaN: true }),
    })
    fc.assert(
      fc.property(
        fc.integer({ min: 20, max: 1000 }),
        fc.array(round, { minLength: 50, maxLength: 120 }),
        (every, rounds) => {
          let clock = 1000
          const schedule = new Schedule(every, () => clock)
          const start = clock
          /** The true opening of the window, in ms from the start. */
          let opened = 0
          for (const { lateNs, syncNs, opens, loopMs, consumerMs } of rounds) {
            const now = Math.max(clock - start, opened)
            const windowMs = schedule.nextWindowMs()
            const deadline = opened + windowMs
            // Within a sync and the event loop's delay of a multiple, however many rounds there were, and the next one ahead.
            const error = Math.abs(deadline - Math.round(deadline / every) * every)
            expect(error).toBeLessThanOrEqual(SYNC_MS + LOOP_MS + 1e-6)
            expect(deadline).toBeGreaterThanOrEqual(now - (SYNC_MS + LOOP_MS) - 1e-6)
            expect(windowMs).toBeGreaterThanOrEqual(every / 2)
            expect(deadline).toBeLessThanOrEqual(now + 1.5 * every + SYNC_MS + LOOP_MS + 1e-6)
            const synced = deadline + lateNs / 1e6
            opened = synced + (opens * syncNs) / 1e6
            clock = start + synced + syncNs / 1e6 + loopMs
            schedule.reopened(windowMs, lateNs, syncNs)
            clock += consumerMs
          }
        },
      ),
    )
  })
})
