/** The memory of another process as a source of the meter. */

import { type Signal, tokenOf } from '../../ground/abort.js'
import { DirtyRateError, hasCode } from '../../ground/errors.js'
import { callNative, type NativeProcess } from '../../ground/native.js'
import { hasNoMemory, isStopped } from '../../ground/proc.js'
import type { Method, ModeAbility, Round, Source } from '../../measurement/source.js'
import type { BlockMeasurement } from '../../results/measurement.js'
import type { Mode } from '../../results/mode.js'
import { type OwnSamplesFigures, type SampleAt, samplePages } from '../page-sampling.js'
import { explained } from './permission.js'
import { gone } from './process-facts.js'
import type { FoundRange } from './vmms/vmm.js'

/** The figures of a process: those of samples, without the guest addresses that nobody knows. */
export type ProcessFigures = Omit<OwnSamplesFigures, 'blocks'> & {
  readonly blocks: readonly BlockMeasurement[]
}

/** The modes of a process. */
export const MODES: readonly ModeAbility[] = [
  {
    mode: 'page-sampling',
    exact: false,
    costToGuest:
      'nothing but memory bandwidth: only pages that are in memory are read, and none is mapped',
  },
]

/** What the source needs to know about its process. */
export interface Measured {
  readonly pid: number
  readonly process: NativeProcess
  readonly ranges: readonly FoundRange[]
  readonly pageSize: number
}

export class ProcessSource implements Source<ProcessFigures> {
  readonly modes: readonly ModeAbility[] = MODES
  readonly #of: Measured
  readonly #sampleAt: SampleAt

  constructor(of: Measured) {
    this.#of = of
    const ranges = of.ranges.map(({ name, start, end, guestAddress = 0 }) => ({
      name,
      start,
      bytes: end - start,
      guestAddress,
    }))
    this.#sampleAt = (options, deadlinesMs, cancel) =>
      of.process.sampleAt(ranges, options, deadlinesMs, cancel)
  }

  modeUnavailable(mode: Mode): DirtyRateError {
    return new DirtyRateError(
      'ERR_MODE_UNAVAILABLE',
      `mode ${mode} is not available: a process that another program has made is measured by page-sampling only`,
      {
        hint: `For ${mode}, QEMU itself can measure: use qmp:SOCKET or libvirt:NAME. 'auto' is page-sampling here.`,
      },
    )
  }

  requireMeasurable(): void {
    const { pid, process } = this.#of
    callNative(() => process.check())
    if (isStopped(pid)) {
      throw new DirtyRateError(
        'ERR_PAUSED',
        `process ${pid} is stopped, so its guest writes nothing`,
        {
          hint: `Let it go on (kill -CONT ${pid}), or end the debugger that has stopped it.`,
        },
      )
    }
  }

  explain(error: unknown): unknown {
    const said = explained(this.#of.pid, error)
    // The ranges of a process that ends are refused as if the caller had given wrong ones.
    const isRefused = hasCode(said, 'ERR_ARGUMENT') || hasCode(said, 'ERR_TARGET_ABSENT')
    return isRefused && hasNoMemory(this.#of.pid) ? gone(this.#of.pid, said) : said
  }

  async measure(
    method: Method,
    deadlinesMs: readonly number[],
    signal: Signal,
  ): Promise<Round<ProcessFigures>[]> {
    if (method.mode !== 'page-sampling') throw this.modeUnavailable(method.mode)
    const { pageSize } = this.#of
    const token = tokenOf(signal)
    const rounds = await samplePages(this.#sampleAt, method.samples, pageSize, deadlinesMs, token)
    return rounds.map(round => ({ ...round, figures: this.#placed(round.figures) }))
  }

  async *rounds(
    method: Method,
    everyMs: number,
    signal: Signal,
  ): AsyncGenerator<Round<ProcessFigures>, void, undefined> {
    for (;;) yield* await this.measure(method, [everyMs], signal)
  }

  /** Without the guest addresses that are not known. */
  #placed(figures: OwnSamplesFigures): ProcessFigures {
    const isPlaced = (name: string): boolean =>
      this.#of.ranges.some(range => range.name === name && range.guestAddress !== undefined)
    const blocks = figures.blocks.map((block): BlockMeasurement => {
      const { guestAddress: _, ...unplaced } = block
      return isPlaced(block.name) ? block : unplaced
    })
    return { ...figures, blocks }
  }
}
