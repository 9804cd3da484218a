/** A domain that libvirt lets QEMU measure, as a source of the meter. */

import type { Signal } from '../../ground/abort.js'
import { DirtyRateError } from '../../ground/errors.js'
import type { Method, ModeAbility, Round, Source } from '../../measurement/source.js'
import type { Mode } from '../../results/mode.js'
import { figuresOf } from '../qemu/figures.js'
import { MODES, separateWindows } from '../qemu/modes.js'
import { type Job, Jobs, type Measured } from './job.js'

export class LibvirtSource implements Source {
  readonly modes: readonly ModeAbility[] = MODES
  // QEMU takes pages at random, with replacement, and cannot be told which.
  readonly ignoredSampling = ['design', 'seed'] as const
  readonly #of: Measured
  readonly #jobs: Jobs

  constructor(of: Measured) {
    this.#of = of
    this.#jobs = new Jobs(of)
  }

  modeUnavailable(mode: Mode): DirtyRateError {
    return new DirtyRateError('ERR_MODE_UNAVAILABLE', `libvirt has no mode ${mode}`)
  }

  // Only libvirt knows, and is asked at the beginning of each job.
  requireMeasurable(): void {}

  explain(error: unknown): unknown {
    return error
  }

  async measure(method: Method, deadlinesMs: readonly number[], signal: Signal): Promise<Round[]> {
    // A window that cannot be measured is refused before the first one is.
    for (const windowMs of deadlinesMs) this.#of.way.requirePossible(method, windowMs)
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
    this.#of.way.requirePossible(method, everyMs)
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
    }
  }
}
