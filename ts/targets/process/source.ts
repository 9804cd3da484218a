/** The memory of another process as a source of the meter. */

import { performance } from 'node:perf_hooks'
import { type Signal, tokenOf } from '../../ground/abort.js'
import { DirtyRateError, hasCode } from '../../ground/errors.js'
import { callNative, type NativeProcess, type NativeProcessRange } from '../../ground/native.js'
import { hasNoMemory, isStopped } from '../../ground/proc.js'
import type { RegionOfWindow } from '../../measurement/regions.js'
import type { CurveDetail, Method, ModeAbility, Round, Source } from '../../measurement/source.js'
import type { BlockMeasurement } from '../../results/measurement.js'
import type { Mode } from '../../results/mode.js'
import { observed, STATISTICS, type Statistics } from '../kvm-statistics.js'
import { type OwnSamplesFigures, type SampleAt, samplePages } from '../page-sampling.js'
import { emulatedHere } from '../qemu/safety.js'
import { explained, gone, stoppedHint } from './permission.js'
import {
  explainSoftDirty,
  type ProcessSoftDirtyFigures,
  softDirtyAbility,
  softDirtyRounds,
} from './soft-dirty.js'
import type { FoundRange } from './vmms/vmm.js'

/** The figures of samples of a process, without the guest addresses that nobody knows. */
export type ProcessSampledFigures = Omit<OwnSamplesFigures, 'blocks'> & {
  readonly blocks: readonly BlockMeasurement[]
}
/** The figures of a process: a union by `mode`. */
export type ProcessFigures = ProcessSampledFigures | ProcessSoftDirtyFigures

/** The modes of a process. `auto` is the first one. */
export function modesOfProcess(): ModeAbility[] {
  return [
    {
      mode: 'page-sampling',
      exact: false,
      costToGuest:
        'nothing but memory bandwidth: only pages that are in memory are read, and none is mapped',
    },
    softDirtyAbility(),
  ]
}

/** What the source needs to know about its process. */
export interface Measured {
  readonly pid: number
  readonly process: NativeProcess
  readonly ranges: readonly FoundRange[]
  readonly pageSize: number
}

export class ProcessSource implements Source<ProcessFigures> {
  readonly modes: readonly ModeAbility[] = modesOfProcess()
  readonly #of: Measured
  readonly #ranges: NativeProcessRange[]
  readonly #sampleAt: SampleAt
  /** Where KVM emulates its guests, its statistics do not count. To find out takes 1 ms. */
  #isEmulated: boolean | undefined

  constructor(of: Measured) {
    this.#of = of
    this.#ranges = of.ranges.map(({ name, start, end, guestAddress = 0 }) => ({
      name,
      start,
      bytes: end - start,
      guestAddress,
    }))
    this.#sampleAt = (options, deadlinesMs, cancel) =>
      of.process.sampleAt(this.#ranges, options, deadlinesMs, cancel)
  }

  modeUnavailable(mode: Mode): DirtyRateError {
    return new DirtyRateError(
      'ERR_MODE_UNAVAILABLE',
      `mode ${mode} is not available: a process that another program has made has the modes page-sampling and soft-dirty`,
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
        { hint: stoppedHint(pid) },
      )
    }
  }

  explain(error: unknown): unknown {
    const said = explainSoftDirty(explained(this.#of.pid, error))
    // The ranges of a process that ends are refused as if the caller had given wrong ones.
    const isRefused = hasCode(said, 'ERR_ARGUMENT') || hasCode(said, 'ERR_TARGET_ABSENT')
    return isRefused && hasNoMemory(this.#of.pid) ? gone(this.#of.pid, said) : said
  }

  async measure(
    method: Method,
    deadlinesMs: readonly number[],
    signal: Signal,
    detail?: CurveDetail,
  ): Promise<Round<ProcessFigures>[]> {
    // The times before and after the window would be those of all windows of a curve together.
    this.#isEmulated ??= emulatedHere()
    if (deadlinesMs.length > 1 || this.#isEmulated === true)
      return this.#measure(method, deadlinesMs, signal, detail)
    let openedAt = new Date()
    const { result, cost } = await observed(
      () => this.#statistics(),
      signal,
      () => {
        openedAt = new Date()
        return this.#measure(method, deadlinesMs, signal, detail)
      },
    )
    if (cost === undefined) return result.map(round => ({ ...round, openedAt }))
    return result.map(({ figures, ...round }) => ({
      ...round,
      openedAt,
      figures: { ...figures, cost: { ...figures.cost, guest: cost } },
    }))
  }

  /** What KVM has counted for the vCPUs, if the process keeps its files of that open. */
  async #statistics(): Promise<Statistics | undefined> {
    const { process } = this.#of
    const found = await callNative(() => process.kvmStatistics())
    if (found === null) return undefined
    const wanted = Object.entries(found).filter(([name]) => STATISTICS.includes(name))
    const counts: ReadonlyMap<string, number> = new Map(wanted)
    return { atMs: performance.now(), counts }
  }

  async #measure(
    method: Method,
    deadlinesMs: readonly number[],
    signal: Signal,
    detail?: CurveDetail,
  ): Promise<Round<ProcessFigures>[]> {
    const { pageSize, process } = this.#of
    const token = tokenOf(signal)
    if (method.mode === 'soft-dirty') {
      const reports = await process.softDirtyAt(this.#ranges, [...deadlinesMs], token)
      return softDirtyRounds(reports, pageSize).map(({ figures, ...round }) => ({
        ...round,
        figures: { ...figures, blocks: this.#placed(figures.blocks) },
      }))
    }
    if (method.mode !== 'page-sampling') throw this.modeUnavailable(method.mode)
    const { samples } = method
    const rounds = await samplePages(this.#sampleAt, samples, pageSize, deadlinesMs, token, detail)
    return rounds.map(({ figures, regions, ...round }) => ({
      ...round,
      figures: { ...figures, blocks: this.#placed(figures.blocks) },
      ...(regions === undefined ? {} : { regions: regions.map(of => this.#placedRegion(of)) }),
    }))
  }

  async *rounds(
    method: Method,
    everyMs: number,
    signal: Signal,
  ): AsyncGenerator<Round<ProcessFigures>, void, undefined> {
    for (;;) yield* await this.#measure(method, [everyMs], signal)
  }

  /** Whether the guest address of a block is known. */
  #isPlaced(name: string): boolean {
    return this.#of.ranges.some(range => range.name === name && range.guestAddress !== undefined)
  }

  #placedRegion(of: RegionOfWindow): RegionOfWindow {
    const { guestAddress: _, ...unplaced } = of.region
    return this.#isPlaced(of.region.block) ? of : { ...of, region: unplaced }
  }

  /** The blocks without the guest addresses that are not known. */
  #placed(blocks: readonly BlockMeasurement[]): BlockMeasurement[] {
    return blocks.map((block): BlockMeasurement => {
      const { guestAddress: _, ...unplaced } = block
      return this.#isPlaced(block.name) ? block : unplaced
    })
  }
}
