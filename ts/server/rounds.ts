/**
 * The rounds of one target: it is measured again and again, one thing after the other. A round that
 * fails is tried again later, and disturbs no other target.
 */

import { performance } from 'node:perf_hooks'
import { codeOf } from '../ground/errors.js'
import { pause } from '../ground/pause.js'
import type { DirtyRateCurve } from '../results/curve.js'
import type { Figures, Frame } from '../results/measurement.js'
import type { Target, TargetDescription } from '../targets/target.js'

/** What the rounds tell about a target. */
export interface RoundsListener {
  /** What the target says about itself, at the beginning of each round. */
  described(description: TargetDescription): void
  /** The VM migrates, so that the round measures nothing. */
  followed(): void
  /** `endedAt` is in ms since the Epoch. */
  measured(result: Frame & Figures, software: string | undefined, endedAt: number): void
  /** The round goes on when this resolves. */
  curveMeasured(curve: DirtyRateCurve, endedAt: number): Promise<void>
  /** A curve has failed, and the rounds go on. */
  curveFailed(error: unknown): void
  /** A round has failed. The next one comes after `retryMs`. */
  failed(error: unknown, retryMs: number): void
}

/** When and how a target is measured. */
export interface RoundsPlan {
  /** From the beginning of one round to the next one. */
  readonly everyMs: number
  /** How long after the target is open its first round begins. */
  readonly offsetMs: number
  /** The options of each measurement, with its window. */
  readonly measuring: Omit<NonNullable<Parameters<Target['measureDirtyRate']>[0]>, 'signal'>
  /** Undefined if no curves are measured. */
  readonly curve?: {
    readonly everyMs: number
    /** The windows for a target. */
    windows(target: Target): readonly number[]
    /** The options of each curve. */
    readonly measuring: Omit<Parameters<Target['measureDirtyCurve']>[0], 'signal' | 'windows'>
  }
}

/** No target waits longer for its next try. */
const LONGEST_RETRY_MS = 5 * 60_000

/** The errors after which the open target can still be used: its VM only cannot be measured now. */
const PASSING: readonly string[] = [
  'ERR_MEASURING',
  'ERR_MIGRATING',
  'ERR_PAUSED',
  'ERR_QMP_BUSY',
  'ERR_TARGET_TIMEOUT',
]

export class Rounds {
  readonly #open: (signal: AbortSignal) => Promise<Target>
  readonly #plan: RoundsPlan
  readonly #listener: RoundsListener
  /** Rounds that failed since the last good one. */
  #failures = 0
  #hasMeasured = false
  #nextCurve = Number.NEGATIVE_INFINITY

  constructor(
    open: (signal: AbortSignal) => Promise<Target>,
    plan: RoundsPlan,
    listener: RoundsListener,
  ) {
    this.#open = open
    this.#plan = plan
    this.#listener = listener
  }

  /**
   * Measures until `signal` is aborted, and then closes the target and resolves. Rejects with
   * ERR_ARGUMENT if the target, or what was asked of it, is a mistake.
   */
  async run(signal: AbortSignal): Promise<void> {
    let target: Target | undefined
    // The target is opened at once, so that a mistake in it is reported at once.
    let offsetMs = this.#plan.offsetMs
    try {
      for (;;) {
        let begun = performance.now()
        try {
          target ??= await this.#open(signal)
          if (offsetMs > 0) {
            await pause(offsetMs, signal)
            offsetMs = 0
            begun = performance.now()
          }
          await this.#round(target, signal)
          this.#failures = 0
          this.#hasMeasured = true
          await pause(untilNext(begun, this.#plan.everyMs), signal)
        } catch (error) {
          signal.throwIfAborted()
          if (!this.#hasMeasured && codeOf(error) === 'ERR_ARGUMENT') throw error
          const isKept = PASSING.includes(codeOf(error) ?? '')
          if (!isKept) target = await closed(target)
          const retryMs = retryAfter(this.#plan.everyMs, ++this.#failures)
          this.#listener.failed(error, retryMs)
          await pause(retryMs, signal)
        }
      }
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      await closed(target)
    }
  }

  async #round(target: Target, signal: AbortSignal): Promise<void> {
    const { measuring } = this.#plan
    const description = await target.describe()
    signal.throwIfAborted()
    this.#listener.described(description)
    if (description.migration?.underWay === true) {
      this.#listener.followed()
      return
    }
    const result = await target.measureDirtyRate({ ...measuring, signal })
    this.#listener.measured(result, description.software, Date.now())
    await this.#curve(target, signal)
  }

  async #curve(target: Target, signal: AbortSignal): Promise<void> {
    const { curve } = this.#plan
    if (curve === undefined || performance.now() < this.#nextCurve) return
    this.#nextCurve = performance.now() + curve.everyMs
    try {
      const windows = curve.windows(target)
      const measured = await target.measureDirtyCurve({ ...curve.measuring, windows, signal })
      await this.#listener.curveMeasured(measured, Date.now())
    } catch (error) {
      signal.throwIfAborted()
      if (!this.#hasMeasured && codeOf(error) === 'ERR_ARGUMENT') throw error
      this.#listener.curveFailed(error)
    }
  }
}

/** How long it is until the next multiple of `everyMs` since `begun`. */
function untilNext(begun: number, everyMs: number): number {
  const taken = performance.now() - begun
  return everyMs * Math.max(Math.ceil(taken / everyMs), 1) - taken
}

/** How long to wait after so many failures in a row. */
export function retryAfter(everyMs: number, failures: number): number {
  return Math.min(everyMs * 2 ** (failures - 1), Math.max(everyMs, LONGEST_RETRY_MS))
}

/** Closes a target, whatever happens. */
async function closed(target: Target | undefined): Promise<undefined> {
  await target?.close().catch(() => undefined)
}
