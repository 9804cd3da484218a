/** A VM that QEMU measures, as a source of the meter. */

import type { Signal } from '../../ground/abort.js'
import { DirtyRateError } from '../../ground/errors.js'
import type {
  Baseline,
  CurveDetail,
  Method,
  ModeAbility,
  Round,
  Source,
} from '../../measurement/source.js'
import type { DirtyRateInfo } from '../../qapi/types.js'
import type { Mode } from '../../results/mode.js'
import { guestCost, joined, type Spans } from '../kvm-statistics.js'
import { figuresOf } from './figures.js'
import { MODES, separateWindows } from './modes.js'

/** A window to measure. */
export interface Job {
  readonly method: Method
  readonly windowMs: number
  /** Whether to observe the guest before and after the window too, which takes time. */
  readonly baseline: Baseline
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
  /** The times in which the guest was observed; absent if KVM counts nothing there. */
  readonly spans?: Spans
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

  async measure(
    method: Method,
    deadlinesMs: readonly number[],
    signal: Signal,
    { baseline = { before: true, after: true } }: Partial<CurveDetail> = {},
  ): Promise<Round[]> {
    // A window that cannot be measured is refused before the first one is measured.
    for (const windowMs of deadlinesMs) this.#jobs.requirePossible?.(method, windowMs)
    const results: JobResult[] = []
    for (const [at, windowMs] of deadlinesMs.entries()) {
      const before = baseline.before && at === 0
      const after = baseline.after && at === deadlinesMs.length - 1
      const job = { method, windowMs, baseline: { before, after } }
      results.push(await this.#jobs.run(job, signal))
    }
    // One cost of all windows: they belong to one curve.
    const spans = joined(results.map(result => result.spans))
    const rounds = results.map((result, at) => roundOf(result, method, deadlinesMs[at] ?? 0, spans))
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
    let before: Spans['before']
    for (;;) {
      const baseline = { before: before === undefined, after: false }
      const result = await this.#jobs.run({ method, windowMs: everyMs, baseline }, signal)
      before ??= result.spans?.before
      const since = before === undefined ? {} : { before }
      yield roundOf(result, method, everyMs, result.spans && { ...result.spans, ...since })
    }
  }
}

function roundOf(
  { info, startedAt, memoryBytes }: JobResult,
  method: Method,
  windowMs: number,
  spans: Spans | undefined,
): Round {
  const figures = figuresOf(info, method, windowMs, memoryBytes)
  const guest = spans && guestCost(spans)
  return {
    figures: guest === undefined ? figures : { ...figures, cost: { guest } },
    info,
    openedAt: startedAt,
    lateNs: 0,
    explainedNs: 0,
    memory: { bytes: memoryBytes },
  }
}
