/**
 * The rounds of one target: it is measured again and again, one thing after the other. A round that
 * fails is tried again later, and disturbs no other target.
 */

import { performance } from 'node:perf_hooks'
import { codeOf } from '../ground/errors.js'
import type { DirtyRateCurve } from '../results/curve.js'
import type { Figures, Frame } from '../results/measurement.js'
import type { Target, TargetDescription } from '../targets/target.js'
import { hostPace, type Pace } from './pace.js'

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
  /**
   * Whether the target is opened only when its first round is due. A mistake in it is then a
   * failure like others. Default: false.
   */
  readonly opensWhenDue?: boolean
  /** The options of each measurement, with its window. */
  readonly measuring: Omit<NonNullable<Parameters<Target['measureDirtyRate']>[0]>, 'signal'>
  /** Whether each window has cells too, on targets that know them. Default: true. */
  readonly cells?: boolean
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

/** After a curve it takes so many times as long as the curve took until one can be asked for. */
const REST_FACTOR = 4

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
  #plan: RoundsPlan
  readonly #listener: RoundsListener
  readonly #pace: Pace
  /** Ends the wait for the next round, which then begins anew with what is left of it. */
  #waitAnew = (): void => {}
  /** Rounds that failed since the last good one. */
  #failures = 0
  #hasMeasured = false
  /** Whether a curve was begun before. */
  #hasCurve = false
  #nextCurve = Number.NEGATIVE_INFINITY
  /** Nobody gets a curve that is asked for before this time, by `performance.now()`. */
  #restsUntil = Number.NEGATIVE_INFINITY

  constructor(
    open: (signal: AbortSignal) => Promise<Target>,
    plan: RoundsPlan,
    listener: RoundsListener,
    pace: Pace = hostPace,
  ) {
    this.#open = open
    this.#plan = plan
    this.#listener = listener
    this.#pace = pace
  }

  /** From the next round on, measures by another plan. Nothing of what was found is lost. */
  change(plan: RoundsPlan): void {
    this.#plan = plan
    this.#waitAnew()
  }

  /**
   * Whether the next round measures a curve, because somebody asks for one: not if there are none,
   * nor if the last one has just been measured. `mayAsk` decides unless one is coming anyway.
   */
  wantCurve(mayAsk: () => boolean = () => true): 'coming' | 'never' | 'recent' | 'refused' {
    if (this.#plan.curve === undefined) return 'never'
    if (this.#nextCurve === Number.NEGATIVE_INFINITY) return 'coming'
    if (performance.now() < this.#restsUntil) return 'recent'
    if (!mayAsk()) return 'refused'
    this.#nextCurve = Number.NEGATIVE_INFINITY
    return 'coming'
  }

  /**
   * Measures until `signal` is aborted, and then closes the target and resolves. Rejects with
   * ERR_ARGUMENT if the target, or what was asked of it, is a mistake.
   */
  async run(signal: AbortSignal): Promise<void> {
    let target: Target | undefined
    const { opensWhenDue = false } = this.#plan
    let offsetMs = this.#plan.offsetMs
    const offset = async (): Promise<void> => {
      if (offsetMs > 0) await this.#pace.pause(offsetMs, signal)
      offsetMs = 0
    }
    try {
      if (opensWhenDue) await offset()
      for (;;) {
        let begun = this.#pace.now()
        let ended = this.#pace.begun()
        try {
          target ??= await this.#open(signal)
          if (offsetMs > 0) {
            ended()
            ended = () => {}
            await offset()
            begun = this.#pace.now()
            ended = this.#pace.begun()
          }
          await this.#round(target, signal)
          this.#failures = 0
          this.#hasMeasured = true
        } catch (error) {
          signal.throwIfAborted()
          if (!this.#hasMeasured && !opensWhenDue && codeOf(error) === 'ERR_ARGUMENT') throw error
          const isKept = PASSING.includes(codeOf(error) ?? '')
          if (!isKept) target = await closed(target)
          this.#failures++
          this.#listener.failed(error, retryAfter(this.#plan.everyMs, this.#failures))
        } finally {
          ended()
        }
        await this.#untilDue(begun, signal)
      }
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      await closed(target)
    }
  }

  /** Waits for the next round, by the plan as it is when the round is due. */
  async #untilDue(begun: number, signal: AbortSignal): Promise<void> {
    const failedAt = this.#pace.now()
    for (;;) {
      signal.throwIfAborted()
      const { everyMs } = this.#plan
      const now = this.#pace.now()
      const left =
        this.#failures === 0
          ? untilNext(now - begun, everyMs)
          : failedAt + retryAfter(everyMs, this.#failures) - now
      const wait = new AbortController()
      const end = (): void => wait.abort()
      this.#waitAnew = end
      signal.addEventListener('abort', end, { once: true })
      try {
        await this.#pace.pause(left, wait.signal)
        return
      } catch {
        // The plan has changed, or the signal is aborted.
      } finally {
        signal.removeEventListener('abort', end)
        this.#waitAnew = () => {}
      }
    }
  }

  async #round(target: Target, signal: AbortSignal): Promise<void> {
    const { measuring, cells: wantsCells = true } = this.#plan
    const description = await target.describe()
    signal.throwIfAborted()
    this.#listener.described(description)
    if (description.migration?.underWay === true) {
      this.#listener.followed()
      return
    }
    // Undefined if the target does not know where its dirty pages are.
    const cells = wantsCells ? target.suitableCellBytes : undefined
    const result = await target.measureDirtyRate({ ...measuring, cells, signal })
    this.#listener.measured(result, description.software, Date.now())
    await this.#curve(target, signal)
  }

  async #curve(target: Target, signal: AbortSignal): Promise<void> {
    const { curve, offsetMs, everyMs } = this.#plan
    if (curve === undefined || this.#pace.now() < this.#nextCurve) return
    // All targets begin with a curve. The second one comes where the target is in its period, so
    // that the curves of several targets do not stay together.
    const part = this.#hasCurve ? 1 : offsetMs / everyMs || 1
    this.#hasCurve = true
    this.#nextCurve = this.#pace.now() + curve.everyMs * part
    const begun = performance.now()
    try {
      const windows = curve.windows(target)
      const measured = await target.measureDirtyCurve({ ...curve.measuring, windows, signal })
      await this.#listener.curveMeasured(measured, Date.now())
    } catch (error) {
      signal.throwIfAborted()
      const isFirst = !this.#hasMeasured && this.#plan.opensWhenDue !== true
      if (isFirst && codeOf(error) === 'ERR_ARGUMENT') throw error
      this.#listener.curveFailed(error)
    } finally {
      const now = performance.now()
      this.#restsUntil = now + REST_FACTOR * (now - begun)
    }
  }
}

/** How long it is until the next multiple of `everyMs`, if so much has been taken. */
function untilNext(taken: number, everyMs: number): number {
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
