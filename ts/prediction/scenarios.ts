/**
 * What may come of a migration: each scenario is a curve that the measurement allows, writers that
 * are somewhere in memory, and a link. The prediction is what holds for all of them.
 */

import { spread } from './arrangement.js'
import { chanceOfRound, chanceOfWindow } from './chance.js'
import {
  leastLeft,
  leastLeftAnywhere,
  leastLeftOfRandom,
  leftByWholePasses,
  meanLeft,
} from './convergence.js'
import { isFillingMemory, leastLeftEarly, mostLeftByFirstRound } from './first-round.js'
import type { Bound, Model } from './model.js'
import type { Wanted } from './options.js'
import { Places } from './places.js'
import { type Course, type Played, play } from './precopy.js'

/**
 * The model's own error: the simulation of single pages differs from it as if the link were by this
 * part faster or slower.
 */
const OWN_ERROR = 0.03

const NS_PER_SECOND = 1e9

/** The migration of a VM, of which everything is known but the bandwidth and the downtime. */
export class Scenarios {
  readonly model: Model
  readonly wanted: Wanted
  /** Whether the guest may sweep through its memory. */
  readonly sweeps: boolean
  readonly #places: Places

  constructor(model: Model, wanted: Wanted, sweeps: boolean) {
    this.model = model
    this.wanted = wanted
    this.sweeps = sweeps
    this.#places = new Places(model, wanted.profile)
  }

  /** The bytes that a page takes on the link. */
  get pageBytes(): number {
    return this.model.pageSize + this.wanted.profile.headerBytes
  }

  /** How many bytes the pages of zeros take. */
  get zeroBytes(): number {
    const zeros = this.model.memoryPages - this.model.filledPages.value
    return zeros * this.wanted.profile.zeroPageBytes
  }

  /** How long a page of zeros takes: to be sent, or to be found if that takes longer. */
  zeroSeconds(bytesPerSecond: number): number {
    const { zeroPageBytes, zeroPageNs } = this.wanted.profile
    return Math.max(zeroPageBytes / bytesPerSecond, zeroPageNs / NS_PER_SECOND)
  }

  /** How long the guest stands still for so many pages, and for the state of its devices. */
  stoppedSeconds(pages: number, zeros: number, bytesPerSecond: number): number {
    const copied = (pages * this.pageBytes) / bytesPerSecond
    return copied + zeros * this.zeroSeconds(bytesPerSecond) + this.wanted.deviceState
  }

  /** The part of the downtime that is left for memory. */
  memoryDowntime(downtime: number): number {
    const { profile, deviceState } = this.wanted
    return Math.max(downtime - (profile.subtractsDeviceState ? deviceState : 0), 0)
  }

  /** How many pages may be left when the guest is stopped. */
  threshold(bytesPerSecond: number, downtime: number): number {
    const { profile, switchoverBytesPerSecond } = this.wanted
    const rate = switchoverBytesPerSecond ?? bytesPerSecond
    // QEMU compares the pages without their headers with what its link carries with them.
    const pageBytes = profile.passEnds === 'threshold' ? this.model.pageSize : this.pageBytes
    return (rate * this.memoryDowntime(downtime)) / pageBytes
  }

  /**
   * How many pages a migration without an end would leave: below `low` it comes in no scenario, and
   * below `high` in each of them.
   */
  left(bytesPerSecond: number): Record<Bound, number> {
    return {
      value: this.leftAt('value', bytesPerSecond),
      low: this.leftAt('low', bytesPerSecond),
      high: this.leftAt('high', bytesPerSecond),
    }
  }

  /**
   * One bound of what a migration without an end would leave. Writers that run at a part `speed` of
   * their speed leave as much as if the link, and all else, were faster by so much.
   */
  leftAt(bound: Bound, bytesPerSecond: number, speed = 1): number {
    const error = { value: 0, low: this.#ownError, high: -this.#ownError }[bound]
    const rate = (this.#pages(bytesPerSecond) * (1 + error)) / speed
    const least = this.#leftWithoutEnd(bound, rate, speed)
    const { memoryPages, filledPages, [bound]: possible } = this.model
    const zeroSeconds = this.zeroSeconds(bytesPerSecond) * speed
    const sent = { memoryPages, filledPages: filledPages[bound], pagesPerSecond: rate, zeroSeconds }
    if (bound !== 'low') return Math.min(least, mostLeftByFirstRound(possible.total, sent))
    return isFillingMemory(possible.total, filledPages.low)
      ? Math.min(least, leastLeftEarly(possible.total, this.model.value.total, sent))
      : least
  }

  /** How many pages are left if the migration has gone on for long enough. */
  #leftWithoutEnd(bound: Bound, rate: number, speed: number): number {
    if (this.wanted.profile.passEnds === 'drained') return this.#leftByWholePasses(bound, rate)
    if (bound === 'low') return this.#leastLeft(rate)
    const { clearing, limiterMs } = this.wanted.profile
    const { total } = this.model[bound]
    // Nobody knows the chunks of a curve without regions. At worst there is one.
    const isChunked = clearing !== 'pass-start' && (this.model.hasRegions || bound === 'value')
    const parts = isChunked
      ? this.#places.probable(bound).parts.map(({ growth }) => growth)
      : [total]
    return meanLeft(parts, total, rate, (limiterMs / 1000) * speed)
  }

  #leftByWholePasses(bound: Bound, rate: number): number {
    const filled = this.model.filledPages[bound]
    const left = this.#places
      .all(bound)
      .map(one => leftByWholePasses(one, filled, this.#course(rate, 0)))
    if (bound === 'value') return left[0] ?? 0
    if (bound === 'high') return Math.max(...left)
    if (this.wanted.profile.curve === 'as-measured') return Math.min(...left)
    const { total } = this.model.value
    return Math.max(Math.min(...left) - chanceOfWindow(total, total.lastAbove(rate)), 0)
  }

  /** How many pages are left at least at any moment. */
  #leastLeft(rate: number): number {
    const { low, value, hasRegions } = this.model
    const anywhere = leastLeftAnywhere(low.total, value.total, rate)
    if (this.sweeps) return anywhere
    const mean = hasRegions ? leastLeft(low, rate) : leastLeftOfRandom(low.total, rate)
    return Math.max(mean - chanceOfRound(value.total, value.total.lastAbove(rate)), anywhere)
  }

  /** The migration as it most probably goes. */
  probable(bytesPerSecond: number, downtime: number): Played {
    const threshold = this.threshold(bytesPerSecond, downtime)
    const course = this.#course(this.#pages(bytesPerSecond), threshold)
    const possible = this.#places.probable('value')
    const filled = this.model.filledPages.value
    const played = play(possible, filled, course)
    if (played.converged || threshold < this.leftAt('high', bytesPerSecond)) return played
    // It ends, because at some moment no more than the mean is left. Played over regions that
    // differ, a sweep may miss each such moment. In regions that are alike there is no other one.
    return play(spread(possible, possible.parts.length), filled, course)
  }

  /** The migration as it most probably goes, and as it may go at best and at worst. */
  play(
    bytesPerSecond: number,
    downtime: number,
  ): {
    value: Played
    others: readonly Played[]
    /** The shortest that the migration may take; absent if nothing is shorter than the others. */
    leastSeconds?: number
  } {
    const threshold = this.threshold(bytesPerSecond, downtime)
    const value = this.probable(bytesPerSecond, downtime)
    if (this.wanted.profile.curve === 'as-measured') return { value, others: [] }
    const others = this.#others(bytesPerSecond, rate => this.#course(rate, threshold))
    // The last look may find nothing.
    if (!this.sweeps)
      return { value, others, ...(value.passes > 0 ? { leastSeconds: value.seconds } : {}) }
    const { filledPages } = this.model
    const { profile } = this.wanted
    const rate = this.#pages(bytesPerSecond)
    const [fast, slow] = [rate * (1 + this.#ownError), rate * (1 - this.#ownError)]
    // A sweep may be just behind each pass, or just before it.
    const whole: Course = {
      ...this.#course(slow, threshold),
      leftPages: 0,
      clearsAtStart: true,
    }
    const drained = play(spread(this.model.high, 1), filledPages.high, whole)
    // It is looked at what is left at the end of a window of the limiter only.
    const worst = { ...drained, seconds: drained.seconds + profile.limiterMs / 1000 }
    // All pages are sent, and those of the last step at the speed of the link.
    const last = Math.min(threshold, filledPages.low)
    const { linkBytesPerSecond: link = bytesPerSecond } = this.wanted
    const fastest = Math.max(this.#pages(link), fast)
    // Each page of zeros is looked at as well, or sent as any other page if it is written before.
    const zeros = this.model.memoryPages - filledPages.low
    const zeroSeconds = Math.min(this.zeroSeconds(fastest * this.pageBytes), 1 / fastest)
    return {
      value,
      others: [...others, worst],
      leastSeconds: (filledPages.low - last) / fast + last / fastest + zeros * zeroSeconds,
    }
  }

  /** The first pass over all of memory, and the pages that are most probably dirty after it. */
  probablePass(bytesPerSecond: number): Played {
    const possible = this.#places.probable('value')
    const course = this.#passOf(this.#pages(bytesPerSecond))
    return play(possible, this.model.filledPages.value, course)
  }

  /** The same as it may go at best and at worst. */
  possiblePasses(bytesPerSecond: number): readonly Played[] {
    const others = this.#others(bytesPerSecond, rate => this.#passOf(rate))
    if (!this.sweeps) return others
    const { filledPages, high } = this.model
    // A sweep may be just before the pass, which then sends all that is dirty, or just behind it.
    const behind = { ...this.probablePass(bytesPerSecond), lastPages: 0 }
    const slow = this.#passOf(this.#pages(bytesPerSecond) * (1 - this.#ownError))
    const before = play(spread(high, 1), filledPages.high, { ...slow, clearsAtStart: true })
    return [...others, behind, before]
  }

  #passOf(pagesPerSecond: number): Course {
    return { ...this.#course(pagesPerSecond, 0), leftPages: 0, mostPasses: 1 }
  }

  /** What may come at best and at worst, for each arrangement of the writers. */
  #others(bytesPerSecond: number, courseOf: (pagesPerSecond: number) => Course): Played[] {
    const rate = this.#pages(bytesPerSecond)
    const played = (bound: 'low' | 'high', pagesPerSecond: number): Played[] =>
      this.#places
        .all(bound)
        .map(possible => play(possible, this.model.filledPages[bound], courseOf(pagesPerSecond)))
    return [
      ...played('low', rate * (1 + this.#ownError)),
      ...played('high', rate * (1 - this.#ownError)),
    ]
  }

  get #ownError(): number {
    return this.wanted.profile.curve === 'as-measured' ? 0 : OWN_ERROR
  }

  #pages(bytesPerSecond: number): number {
    return bytesPerSecond / this.pageBytes
  }

  #course(pagesPerSecond: number, thresholdPages: number): Course {
    const { profile } = this.wanted
    const looks = profile.limiterMs / 1000
    return {
      pagesPerSecond,
      thresholdPages,
      // What is left is looked at after each window of the limiter: half a window late, on average.
      leftPages:
        profile.passEnds === 'drained'
          ? 0
          : Math.max(thresholdPages - (pagesPerSecond * looks) / 2, 0),
      clearsAtStart: profile.clearing === 'pass-start',
      zeroSeconds: this.zeroSeconds(pagesPerSecond * this.pageBytes),
      // QEMU does not know what a page holds until it comes to it.
      countsZeros: profile.passEnds === 'threshold',
    }
  }
}
