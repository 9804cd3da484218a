/** A VM that QEMU measures, as a source of the meter. */

import type { Signal } from '../../ground/abort.js'
import { DirtyRateError } from '../../ground/errors.js'
import type { Method, ModeAbility, Round, Source } from '../../measurement/source.js'
import type { Mode } from '../../results/mode.js'
import { figuresOf } from '../qemu/figures.js'
import { MODES, separateWindows } from '../qemu/modes.js'
import { Jobs } from './job.js'
import type { Monitor } from './monitor.js'

/** What a source needs of its VM. */
export interface Measured {
  readonly monitor: Monitor
  readonly force: boolean
  readonly emulated: boolean | undefined
}

export class QmpSource implements Source {
  readonly modes: readonly ModeAbility[] = MODES
  // QEMU takes pages at random, with replacement, and cannot be told which.
  readonly ignoredSampling = ['design', 'seed'] as const
  readonly #of: Measured
  readonly #jobs: Jobs

  constructor(of: Measured) {
    this.#of = of
    this.#jobs = new Jobs(of.monitor)
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
    const rounds: Round[] = []
    const observed = deadlinesMs.length === 1
    for (const windowMs of deadlinesMs)
      rounds.push(await this.#round(method, windowMs, observed, signal))
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
    for (;;) yield await this.#round(method, everyMs, false, signal)
  }

  async #round(
    method: Method,
    windowMs: number,
    observed: boolean,
    signal: Signal,
  ): Promise<Round> {
    const { force, emulated } = this.#of
    const { info, startedAt, memoryBytes, guestCost } = await this.#jobs.run(
      { method, windowMs, force, emulated, observed },
      signal,
    )
    const figures = figuresOf(info, method, windowMs, memoryBytes)
    return {
      figures: guestCost === undefined ? figures : { ...figures, cost: { guest: guestCost } },
      info,
      openedAt: startedAt,
      lateNs: 0,
      explainedNs: 0,
    }
  }
}
