/** A clock that is held: whom it wakes, in which order, and what of the time it shows. */

import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { HeldClock } from '../../ts/server/held-clock.js'

const never = new AbortController().signal
/** Timers of Node may come 1 ms too early. */
const EARLY_MS = 1

describe('a clock that may be held', () => {
  it('wakes everybody when they are due, the first one first', async () => {
    const clock = new HeldClock(() => true)
    const woken: number[] = []
    const from = performance.now()
    await Promise.all(
      [60, 20, 40].map(async ms => {
        await clock.pause(ms, never)
        woken.push(ms)
        expect(performance.now() - from).toBeGreaterThanOrEqual(ms - EARLY_MS)
      }),
    )
    expect(woken).toEqual([20, 40, 60])
  })

  it('stands still while nobody may begin, and keeps what lies between them', async () => {
    let mayGoOn = false
    const clock = new HeldClock(() => mayGoOn)
    const woken: number[] = []
    const both = Promise.all(
      [10, 110].map(async ms => {
        await clock.pause(ms, never)
        woken.push(performance.now())
      }),
    )
    await sleep(300)
    expect(woken).toEqual([])
    const shown = clock.now()
    await sleep(50)
    expect(clock.now()).toBe(shown)
    mayGoOn = true
    const from = performance.now()
    await both
    const [first = 0, second = 0] = woken
    expect(first).toBeGreaterThanOrEqual(from)
    expect(second - first).toBeGreaterThanOrEqual(100 - 2 * EARLY_MS)
    // It stood for 340 ms of about 500.
    expect(clock.stretch()).toBeGreaterThan(1.5)
  })

  it('lets those go that are aborted, and forgets them', async () => {
    let asked = 0
    const clock = new HeldClock(() => {
      asked++
      return true
    })
    const stop = new AbortController()
    const waiting = clock.pause(50, stop.signal)
    stop.abort('over')
    await expect(waiting).rejects.toBe('over')
    await expect(clock.pause(50, stop.signal)).rejects.toBe('over')
    await sleep(80)
    expect(asked).toBe(0)
  })

  it('is looked at while it stands, however often somebody comes', async () => {
    let mayGoOn = false
    const clock = new HeldClock(() => mayGoOn)
    let isDone = false
    const first = clock.pause(0, never).then(() => {
      isDone = true
    })
    await sleep(20)
    mayGoOn = true
    const stop = new AbortController()
    const others: Promise<unknown>[] = []
    for (let at = 0; at < 30 && !isDone; at++) {
      others.push(clock.pause(10_000, stop.signal).catch(() => {}))
      await sleep(20)
    }
    expect(isDone).toBe(true)
    stop.abort()
    await Promise.all([first, ...others])
  })
})
