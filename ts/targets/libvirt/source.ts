/** A domain that libvirt lets QEMU measure, as a source of the meter. */

import type { Signal } from '../../ground/abort.js'
import { DirtyRateError } from '../../ground/errors.js'
import type { Method, ModeAbility, Round, Source } from '../../measurement/source.js'
import type { Mode } from '../../results/mode.js'
import { figuresOf } from '../qemu/figures.js'
import { MODES, SEPARATE_WINDOWS } from '../qemu/modes.js'
import { type Measured, runJob } from './job.js'

export class LibvirtSource implements Source {
  readonly modes: readonly ModeAbility[] = MODES
  // QEMU takes pages at random, with replacement, and cannot be told which.
  readonly ignoredSampling = ['design', 'seed'] as const
  readonly #of: Measured

  constructor(of: Measured) {
    this.#of = of
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
    for (const windowMs of deadlinesMs) rounds.push(await this.#round(method, windowMs, signal))
    if (rounds.length < 2) return rounds
    return rounds.map(({ figures, ...round }) => ({
      ...round,
      figures: { ...figures, warnings: [...figures.warnings, SEPARATE_WINDOWS] },
    }))
  }

  async *rounds(
    method: Method,
    everyMs: number,
    signal: Signal,
  ): AsyncGenerator<Round, void, undefined> {
    this.#of.way.requirePossible(method, everyMs)
    for (;;) yield await this.#round(method, everyMs, signal)
  }

  async #round(method: Method, windowMs: number, signal: Signal): Promise<Round> {
    const { info, startedAt, memoryBytes } = await runJob(this.#of, method, windowMs, signal)
    return {
      figures: figuresOf(info, method, windowMs, memoryBytes),
      info,
      openedAt: startedAt,
      lateNs: 0,
      explainedNs: 0,
    }
  }
}
