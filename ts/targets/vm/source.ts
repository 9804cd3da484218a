/** A VM of our own as a source of the meter. */

import { type Signal, tokenOf } from '../../ground/abort.js'
import { type DirtyRateError, hasCode } from '../../ground/errors.js'
import {
  callNative,
  type NativeReapOptions,
  type NativeVirtualMachine,
} from '../../ground/native.js'
import { fromNative } from '../../ground/native-errors.js'
import { cellsOf } from '../../measurement/cells.js'
import type {
  CurveDetail,
  MemoryContents,
  MemoryLayout,
  Method,
  ModeAbility,
  Source,
} from '../../measurement/source.js'
import { logLeftOn } from '../../measurement/warnings.js'
import type { Mode } from '../../results/mode.js'
import type { Warning } from '../../results/warning.js'
import { contentsOf, type SampleAt, samplePages } from '../page-sampling.js'
import { breakdownOf } from './breakdown.js'
import type { DirtyRateClient } from './client.js'
import { bitmapFigures } from './dirty-bitmap.js'
import { ringFigures } from './dirty-ring.js'
import { exactCurves } from './exact-curves.js'
import { exactRounds } from './exact-rounds.js'
import type { VirtualMachineFigures, VirtualMachineRound } from './figures.js'
import { type ExactRound, measureExactly } from './five-steps.js'
import { abilitiesOf, type DirtyLogKind, modeUnavailable } from './modes.js'
import { AT_BEGIN, requireRunning, WITHIN } from './running.js'

/** The codes of native calls that fail because the guest no longer runs. */
const NOT_RUNNING = ['ERR_STATE', 'ERR_PAUSED', 'ERR_GUEST_CRASHED'] as const

/** What the source needs to know about its VM. */
export interface Measured {
  readonly vm: NativeVirtualMachine
  readonly log: DirtyLogKind
  readonly pageSize: number
  /** Whether this kernel has dirty rings. */
  readonly kernelHasRing: boolean
  /** The warnings that each exact measurement has. */
  readonly warnings: readonly Warning[]
  readonly dirtyRate: DirtyRateClient
}

export class VirtualMachineSource implements Source<VirtualMachineFigures> {
  readonly modes: readonly ModeAbility[]
  readonly #of: Measured

  constructor(of: Measured) {
    this.#of = of
    this.modes = abilitiesOf(of.log)
  }

  get exactPageSize(): number {
    return this.#of.pageSize
  }

  memoryLayout(): MemoryLayout {
    const { vm, pageSize } = this.#of
    return { pageSize, blockBytes: callNative(() => vm.blocks()).map(({ bytes }) => bytes) }
  }

  modeUnavailable(mode: Mode): DirtyRateError {
    return modeUnavailable(mode, this.#of.log, this.#of.kernelHasRing)
  }

  requireMeasurable(): void {
    requireRunning(this.#of.vm, AT_BEGIN)
  }

  explain(error: unknown): unknown {
    // While the native thread waits, it checks the vCPUs. Its error is replaced by the error that
    // the same state causes at the beginning, so that words and hints are the same.
    if (NOT_RUNNING.some(code => hasCode(error, code))) {
      try {
        requireRunning(this.#of.vm, WITHIN)
      } catch (said) {
        return said
      }
    }
    return fromNative(error)
  }

  async measure(
    method: Method,
    deadlinesMs: readonly number[],
    signal: Signal,
    detail?: CurveDetail,
  ): Promise<VirtualMachineRound[]> {
    const { vm, pageSize } = this.#of
    const token = tokenOf(signal)
    if (method.mode === 'page-sampling')
      return samplePages(this.#sampleAt, method, pageSize, deadlinesMs, token, detail)
    return this.#withClient(signal, async client => {
      const options = reapOptions(method, detail)
      const rounds = await measureExactly(vm, client, deadlinesMs, token, options)
      return rounds.map(round => this.#exact(round, method, detail))
    })
  }

  async contents(method: Method, signal: Signal): Promise<MemoryContents> {
    const { vm, pageSize } = this.#of
    const bytes = vm.blocks().reduce((sum, block) => sum + block.bytes, 0)
    return contentsOf(options => vm.compressibility(options, tokenOf(signal)), method, {
      bytes,
      pageSize,
    })
  }

  curves(
    method: Method,
    deadlinesMs: readonly number[],
    signal: Signal,
    detail: CurveDetail,
  ): AsyncGenerator<VirtualMachineRound[], void, undefined> | undefined {
    // Samples of the next curve are other pages, so it cannot go on where the last one ended.
    if (method.mode === 'page-sampling') return undefined
    return this.#exactCurves(method, deadlinesMs, signal, detail)
  }

  async *#exactCurves(
    method: Method,
    deadlinesMs: readonly number[],
    signal: Signal,
    detail: CurveDetail,
  ): AsyncGenerator<VirtualMachineRound[], void, undefined> {
    const options = reapOptions(method, detail)
    const curves = exactCurves(this.#of.vm, deadlinesMs, options, tokenOf(signal))
    for await (const rounds of curves) yield rounds.map(round => this.#exact(round, method, detail))
  }

  async *rounds(
    method: Method,
    everyMs: number,
    signal: Signal,
  ): AsyncGenerator<VirtualMachineRound, void, undefined> {
    const { vm, pageSize } = this.#of
    const token = tokenOf(signal)
    if (method.mode === 'page-sampling')
      for (;;) yield* await samplePages(this.#sampleAt, method, pageSize, [everyMs], token)
    // An exact window opens where the one before it closed, even if the next round is asked for
    // later.
    let openedAt = new Date()
    for await (const round of exactRounds(vm, everyMs, token, reapOptions(method))) {
      const of = { ...this.#exact(round, method), openedAt }
      openedAt = new Date()
      yield of
    }
  }

  readonly #sampleAt: SampleAt = (options, deadlinesMs, cancel) =>
    this.#of.vm.sampleAt(options, deadlinesMs, cancel)

  #exact(round: ExactRound, method: Method, detail?: CurveDetail): VirtualMachineRound {
    const { log, pageSize, warnings } = this.#of
    const figures = log === 'ring' ? ringFigures(round, pageSize) : bitmapFigures(round, pageSize)
    return {
      figures: {
        ...figures,
        ...cellsOf(round.reap.blocks, method),
        warnings: [...warnings, ...figures.warnings],
      },
      lateNs: round.lateNs,
      explainedNs: round.explainedNs,
      ...(detail === undefined ? {} : breakdownOf(round.reap)),
    }
  }

  /**
   * Runs a measurement with a client. If the log cannot be turned off afterwards, the result stays
   * right, and gets a warning.
   */
  async #withClient(
    signal: Signal,
    measure: (client: string) => Promise<VirtualMachineRound[]>,
  ): Promise<VirtualMachineRound[]> {
    const { client, giveBack } = await this.#of.dirtyRate.acquire(signal)
    let rounds: VirtualMachineRound[]
    try {
      rounds = await measure(client)
    } catch (error) {
      // The caller must see what ended the measurement, and not that the log could not be turned
      // off after that.
      await giveBack().catch(() => undefined)
      throw error
    }
    try {
      await giveBack()
    } catch (error) {
      const warning = logLeftOn(fromNative(error))
      return rounds.map(round => ({
        ...round,
        figures: { ...round.figures, warnings: [...round.figures.warnings, warning] },
      }))
    }
    return rounds
  }
}

/** What the reaps of a measurement count, and with `detail` those of a curve. */
function reapOptions({ cellBytes }: Method, detail?: CurveDetail): NativeReapOptions {
  return {
    ...(detail === undefined ? {} : { byRegion: true, granularities: [...detail.granularities] }),
    ...(cellBytes === undefined ? {} : { cellBytes }),
  }
}
