/**
 * The CPU time that measuring may take. Its account gets the share of each second that passes, and
 * pays what was really spent. A round may begin if the account can pay for it and for those that
 * are under way, by what rounds have cost so far.
 */

import { performance } from 'node:perf_hooks'
import { HeldClock } from './held-clock.js'
import type { Pace } from './pace.js'

/** The account saves no more than it gets in this time, and in two rounds. */
const SAVING_MS = 5_000
/** How much the last rounds weigh in what a round is expected to cost and to last. */
const WEIGHT = 0.2
/** What is spent is read again after this time. */
const FRESH_MS = 20

export class Budget implements Pace {
  #share: number | undefined
  readonly #spentMs: () => number
  readonly #clock = new HeldClock(() => this.#canPay())
  #readAt: number
  #lastSpentMs: number
  /** CPU time, in ms. It is below 0 if more was spent than there was. */
  #account = 0
  #underWay = 0
  /** What the rounds that have ended since then cost together. */
  #ended = 0
  #spentSinceEnd = 0
  #expectedMs = 0
  #durationMs = 0

  /**
   * `share` is how many CPUs may be used on average: 0.02 is 2 % of one CPU. Without it there is no
   * limit. `spentMs` is the CPU time that was spent so far, in ms.
   */
  constructor(share: number | undefined, spentMs: () => number) {
    this.#share = share
    this.#spentMs = spentMs
    this.#readAt = performance.now()
    this.#lastSpentMs = spentMs()
  }

  get share(): number | undefined {
    return this.#share
  }

  /** Changes the share. What was spent too much before is forgotten if there was no limit. */
  change(share: number | undefined): void {
    this.#book()
    this.#share = share
  }

  now(): number {
    return this.#clock.now()
  }

  pause(ms: number, signal: AbortSignal): Promise<void> {
    return this.#clock.pause(ms, signal)
  }

  /** How many times longer than asked periods were in the last minute. */
  stretch(): number {
    return this.#clock.stretch()
  }

  begun(): () => void {
    const at = performance.now()
    this.#underWay++
    return () => {
      this.#underWay--
      this.#ended++
      this.#durationMs += WEIGHT * (performance.now() - at - this.#durationMs)
    }
  }

  #canPay(): boolean {
    this.#book()
    if (this.#share === undefined) return true
    // One round may always begin with what there is, so that none is too dear for ever.
    if (this.#underWay === 0) return this.#account >= 0
    return this.#account >= this.#expectedMs * (this.#underWay + 1)
  }

  #book(): void {
    const now = performance.now()
    const passed = now - this.#readAt
    if (passed < FRESH_MS) return
    this.#readAt = now
    const spent = this.#spentMs()
    const cost = spent - this.#lastSpentMs
    this.#lastSpentMs = spent
    if (this.#share === undefined) {
      this.#account = 0
    } else {
      const most = this.#share * (SAVING_MS + 2 * this.#durationMs)
      this.#account = Math.min(this.#account + this.#share * passed - cost, most)
    }
    this.#spentSinceEnd += cost
    if (this.#ended === 0) return
    this.#expectedMs += WEIGHT * (this.#spentSinceEnd / this.#ended - this.#expectedMs)
    this.#ended = 0
    this.#spentSinceEnd = 0
  }
}
