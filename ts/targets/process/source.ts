/** The memory of another process as a source of the meter. */

import { performance } from 'node:perf_hooks'
import { type Signal, tokenOf } from '../../ground/abort.js'
import { DirtyRateError, hasCode } from '../../ground/errors.js'
import { callNative, type NativeProcess, type NativeProcessRange } from '../../ground/native.js'
import { goOn, hasNoMemory, stoppedBy } from '../../ground/proc.js'
import type { RegionOfWindow } from '../../measurement/regions.js'
import type {
  Baseline,
  CurveDetail,
  MemoryContents,
  MemoryLayout,
  Method,
  ModeAbility,
  Round,
  Source,
} from '../../measurement/source.js'
import type { CellsOfBlock, DirtyCells } from '../../results/cells.js'
import type { BlockMeasurement } from '../../results/measurement.js'
import type { Mode } from '../../results/mode.js'
import { guestCost, observed, type Span, STATISTICS, type Statistics } from '../kvm-statistics.js'
import { contentsOf, type OwnSamplesFigures, type SampleAt, samplePages } from '../page-sampling.js'
import { emulatedHere } from '../qemu/safety.js'
import { explained, gone } from './permission.js'
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

/** How the guest is observed in a measurement. */
interface Observing {
  readonly baseline: Baseline | undefined
  readonly detail: CurveDetail | undefined
  readonly since?: Span | undefined
}

export class ProcessSource implements Source<ProcessFigures> {
  readonly modes: readonly ModeAbility[] = modesOfProcess()
  readonly whyNoGranules =
    'the guest addresses of this memory are not known, so nobody knows where its granules begin'
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

  /** Granules lie at multiples of their size in the guest's address space. */
  get exactPageSize(): number | undefined {
    const { pageSize, ranges } = this.#of
    return ranges.every(range => range.guestAddress !== undefined) ? pageSize : undefined
  }

  memoryLayout(): MemoryLayout {
    const { pageSize, ranges } = this.#of
    return { pageSize, blockBytes: ranges.map(({ start, end }) => end - start) }
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
    const by = stoppedBy(pid)
    if (by !== undefined) {
      throw new DirtyRateError(
        'ERR_PAUSED',
        `process ${pid} is stopped by ${by}, so its guest writes nothing`,
        { hint: goOn(pid, by) },
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
    const { rounds } = await this.#observed(method, deadlinesMs, signal, {
      baseline: detail?.baseline,
      detail,
    })
    return rounds
  }

  /**
   * Measures while the guest is observed, so that the rounds have what they cost the guest. The
   * time before the first window, from which `before` is, is returned, and is given back as `since`
   * when the next window is measured.
   */
  async #observed(
    method: Method,
    deadlinesMs: readonly number[],
    signal: Signal,
    { baseline, detail, since }: Observing,
  ): Promise<{ rounds: Round<ProcessFigures>[]; before?: Span }> {
    let openedAt = new Date()
    const measure = (): Promise<Round<ProcessFigures>[]> => {
      openedAt = new Date()
      return this.#measure(method, deadlinesMs, signal, detail)
    }
    const read = (): Promise<Statistics | undefined> => this.#statistics()
    this.#isEmulated ??= emulatedHere()
    const { result, spans } =
      this.#isEmulated === true
        ? { result: await measure() }
        : await observed(read, signal, measure, baseline)
    const { before = since } = spans ?? {}
    const cost = spans && guestCost({ ...spans, ...(before === undefined ? {} : { before }) })
    const rounds = result.map(({ figures, ...round }) => ({
      ...round,
      openedAt,
      figures:
        cost === undefined ? figures : { ...figures, cost: { ...figures.cost, guest: cost } },
    }))
    return { rounds, ...(before === undefined ? {} : { before }) }
  }

  async contents(method: Method, signal: Signal): Promise<MemoryContents> {
    const { pageSize, process } = this.#of
    const bytes = this.#ranges.reduce((sum, range) => sum + range.bytes, 0)
    return contentsOf(
      options => process.compressibility(this.#ranges, options, tokenOf(signal)),
      method,
      { bytes, pageSize },
    )
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
      const { cellBytes } = method
      const options = {
        ...(detail === undefined
          ? {}
          : { byRegion: true, granularities: [...detail.granularities] }),
        ...(cellBytes === undefined ? {} : { cellBytes }),
      }
      const reports = await process.softDirtyAt(this.#ranges, [...deadlinesMs], options, token)
      return softDirtyRounds(reports, pageSize, detail, method).map(round =>
        this.#placedRound(round),
      )
    }
    if (method.mode !== 'page-sampling') throw this.modeUnavailable(method.mode)
    const rounds = await samplePages(this.#sampleAt, method, pageSize, deadlinesMs, token, detail)
    return rounds.map(round => this.#placedRound(round))
  }

  async *rounds(
    method: Method,
    everyMs: number,
    signal: Signal,
  ): AsyncGenerator<Round<ProcessFigures>, void, undefined> {
    let since: Span | undefined
    for (;;) {
      const baseline = { before: since === undefined, after: false }
      const observing = { baseline, detail: undefined, since }
      const { rounds, before } = await this.#observed(method, [everyMs], signal, observing)
      since = before
      yield* rounds
    }
  }

  /** Whether the guest address of a block is known. */
  #isPlaced(name: string): boolean {
    return this.#of.ranges.some(range => range.name === name && range.guestAddress !== undefined)
  }

  /** The round without the guest addresses that are not known. */
  #placedRound({ figures, regions, ...round }: Round<ProcessFigures>): Round<ProcessFigures> {
    return {
      ...round,
      figures: {
        ...figures,
        blocks: this.#placed(figures.blocks),
        ...(figures.cells === undefined ? {} : { cells: this.#placedCells(figures.cells) }),
      },
      ...(regions === undefined ? {} : { regions: regions.map(of => this.#placedRegion(of)) }),
    }
  }

  #placedRegion(of: RegionOfWindow): RegionOfWindow {
    const { guestAddress: _, ...unplaced } = of.region
    return this.#isPlaced(of.region.block) ? of : { ...of, region: unplaced }
  }

  #placedCells({ cellBytes, blocks }: DirtyCells): DirtyCells {
    const placed = blocks.map((of): CellsOfBlock => {
      const { guestAddress: _, ...unplaced } = of
      return this.#isPlaced(of.block) ? of : unplaced
    })
    return { cellBytes, blocks: placed }
  }

  #placed(blocks: readonly BlockMeasurement[]): BlockMeasurement[] {
    return blocks.map((block): BlockMeasurement => {
      const { guestAddress: _, ...unplaced } = block
      return this.#isPlaced(block.name) ? block : unplaced
    })
  }
}
