/**
 * Tells the answer about our job from one about the job of another client, by what QEMU says of it.
 * QEMU keeps one job, and does not say whose it is.
 */

import { performance } from 'node:perf_hooks'
import { measureModeOf } from '../../qapi/measure-mode.js'
import type { DirtyRateInfo } from '../../qapi/types.js'
import type { Job } from './source.js'

const MS_PER_SECOND = 1000
/** QEMU rounds both ends of a window down to whole ms, so that it may be 1 ms longer. */
const ROUNDING_MS = 1
/** NTP makes a clock faster or slower by at most 500 ppm, and QEMU may run on another host. */
const CLOCK_DRIFT = 2 * 500e-6

/** Looks at each answer to query-dirty-rate from the moment at which our job is asked for. */
export class OwnAnswer {
  readonly #job: Job
  readonly #nowMs: () => number
  readonly #askedMs: number
  /** When QEMU's clock said that the job began, in its seconds. */
  #startTime: number | undefined

  /** `nowMs` is the clock by which a window is judged. */
  constructor(job: Job, nowMs: () => number = () => performance.now()) {
    this.#job = job
    this.#nowMs = nowMs
    this.#askedMs = nowMs()
  }

  /**
   * Whether this may be said of our job; `info` has its time in ms. The job of another client may
   * begin between two looks. It is taken for ours only if it is asked for with our mode, window and
   * samples, and also begins in the second in which ours began, before the first look, or, after a
   * window of less than a second, in the next second. Its figure is as true then as ours.
   */
  mayBe(info: DirtyRateInfo): boolean {
    if (info.status === 'unstarted') return true
    return this.#hasOurStart(info) && this.#hasOurWindow(info) && this.#isAskedAsOurs(info)
  }

  /**
   * QEMU notes the start twice: when it takes a job, and when the window begins. Another job begins
   * at least a window later than ours.
   */
  #hasOurStart({ 'start-time': start }: DirtyRateInfo): boolean {
    const before = this.#startTime ?? start
    this.#startTime = start
    if (start === before) return true
    if (start < before) return false
    const { windowMs } = this.#job
    // QEMU may begin its log late. No other job begins before the window of ours has passed.
    if (this.#passedMs() < windowMs) return true
    // Both are rounded down, so that their difference may be almost 1 s too small.
    const isSoonEnough = (start - before + 1) * MS_PER_SECOND <= windowMs
    return isSoonEnough || (start === before + 1 && windowMs < MS_PER_SECOND)
  }

  /** What QEMU's clock says at most of the time since the job was asked for. */
  #passedMs(): number {
    return (this.#nowMs() - this.#askedMs) * (1 + CLOCK_DRIFT) + ROUNDING_MS
  }

  /** The window cannot be longer than the time since the job was asked for. */
  #hasOurWindow({ status, 'calc-time': ms }: DirtyRateInfo): boolean {
    const { windowMs } = this.#job
    // A job that runs says the window that was asked for, and only at its end the real one.
    if (status === 'measuring' && ms === windowMs) return true
    return ms >= windowMs && ms <= this.#passedMs()
  }

  #isAskedAsOurs({ status, mode, 'sample-pages': samples }: DirtyRateInfo): boolean {
    // libvirt says the mode of a job only when it has ended.
    if (status !== 'measured') return true
    const { method } = this.#job
    return (
      mode === measureModeOf(method.mode) &&
      (method.mode !== 'page-sampling' || samples === method.samples.samplesPerGiB)
    )
  }
}
