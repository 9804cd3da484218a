/** A VM that QEMU measures, as a source of the meter. */

import type { Signal } from '../../ground/abort.js'
import { DirtyRateError } from '../../ground/errors.js'
import type { Method, ModeAbility, Round, Source } from '../../measurement/source.js'
import type { DirtyRateInfo } from '../../qapi/types.js'
import type { GuestCost } from '../../results/measurement.js'
import type { Mode } from '../../results/mode.js'
import { figuresOf } from './figures.js'
import { MODES, separateWindows } from './modes.js'

/** A window to measure. */
export interface Job {
  readonly method: Method
  readonly windowMs: number
  /** Whether to observe the guest before the window and after it too, which takes time. */
  readonly observed: boolean
}

/** What a job has measured. */
export interface JobResult {
  /**
   * QEMU's answer, with its time in ms and its start in seconds since the Epoch, whatever the
   * version.
   */
  readonly info: DirtyRateInfo
  readonly startedAt: Date
  readonly memoryBytes: number
  /** What it cost the guest, if the job asked for that and KVM counts. */
  readonly guestCost?: GuestCost
}

/** The jobs of one target, which run one after the other, because QEMU has one at a time. */
export interface Jobs {
  /**
   * Throws ERR_ARGUMENT for a window that certainly cannot be measured, before anything is asked.
   */
  requirePossible?(method: Method, windowMs: number): void
  /** Runs a job when those before it have ended. */
  run(job: Job, signal: Signal): Promise<JobResult>
  /** How long QEMU goes on with a job that nobody waits for, in ms; 0 if there is none. */
  readonly goesOnMs: number
}

export class QemuSource implements Source {
  readonly modes: readonly ModeAbility[] = MODES
  // QEMU takes pages at random, with replacement, and cannot be told which.
  readonly ignoredSampling = ['design', 'seed'] as const
  readonly #jobs: Jobs

  constructor(jobs: Jobs) {
    this.#jobs = jobs
  }

  modeUnavailable(mode: Mode): DirtyRateError {
    return new DirtyRateError('ERR_MODE_UNAVAILABLE', `QEMU has no mode ${mode}`)
  }

  // Only QEMU knows, and is asked at the beginning of each job.
  requireMeasurable(): void {}

  explain(error: unknown): unknown {
    return error
  }

  async measure(method: Method, deadlinesMs: readonly number[], signal: Signal): Promise<Round[]> {
    // A window that cannot be measured is refused before the first one is measured.
    for (const windowMs of deadlinesMs) this.#jobs.requirePossible?.(method, windowMs)
    const rounds: Round[] = []
    const observed = deadlinesMs.length === 1
    for (const windowMs of deadlinesMs)
      rounds.push(await this.#round({ method, windowMs, observed }, signal))
    if (rounds.length < 2) return rounds
    const warning = separateWindows(rounds.map(({ openedAt }) => openedAt?.getTime() ?? 0))
    return rounds.map(({ figures, ...round }) => ({
      ...round,
      figures: { ...figures, warnings: [...figures.warnings, warning] },
    }))
  }

  async *rounds(
    method: Method,
    everyMs: number,
    signal: Signal,
  ): AsyncGenerator<Round, void, undefined> {
    this.#jobs.requirePossible?.(method, everyMs)
    const job = { method, windowMs: everyMs, observed: false }
    for (;;) yield await this.#round(job, signal)
  }

  async #round(job: Job, signal: Signal): Promise<Round> {
    const { info, startedAt, memoryBytes, guestCost } = await this.#jobs.run(job, signal)
    const figures = figuresOf(info, job.method, job.windowMs, memoryBytes)
    return {
      figures: guestCost === undefined ? figures : { ...figures, cost: { guest: guestCost } },
      info,
      openedAt: startedAt,
      lateNs: 0,
      explainedNs: 0,
      memory: { bytes: memoryBytes },
    }
  }
}
