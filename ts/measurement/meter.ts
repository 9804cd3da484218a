/** All ways of measuring one VM: once, a curve, round after round. Chooses the mode, and reports to the events and the history. */

import { parseOptions } from '../ground/arguments.js'
import { emit } from '../ground/log.js'
import type { CancelToken, NativeSampleOptions, NativeVirtualMachine } from '../ground/native.js'
import { fromNative } from '../ground/native-errors.js'
import { traceCalculation } from '../qapi/trace.js'
import type { Mode } from '../qapi/types.js'
import {
  type Figures,
  type Frame,
  measurementOf,
  type VirtualMachineMeasurement,
  type Warning,
} from '../results/measurement.js'
import type { DirtyRateClient } from '../targets/vm/client.js'
import { bitmapFigures } from '../targets/vm/dirty-bitmap.js'
import { ringFigures } from '../targets/vm/dirty-ring.js'
import { type ExactRound, measureExactly } from '../targets/vm/five-steps.js'
import { parseSampling, refuseSampling, samplePages } from '../targets/vm/page-sampling.js'
import { curveOf, type DirtyRateCurve } from './curve.js'
import { Emitter, type MeasurementBegun, type MeasurementEvents } from './events.js'
import { History } from './history.js'
import type { Interruption, Measurements } from './measurements.js'
import { chooseMode, type DirtyLogKind } from './mode.js'
import {
  type CommonOptions,
  CURVE,
  type CurveOptions,
  MEASURE,
  type MeasureOptions,
  WATCH,
  type WatchOptions,
} from './options.js'
import { logLeftOn, windowWarnings } from './warnings.js'
import { exactRounds, Rounds, samplingRounds } from './watch.js'
import { parseWindow, parseWindows } from './windows.js'

/** The source of its log events, in the form of the core's module names. */
const TARGET = 'dirtyrate::measurement'
const DEFAULT_WINDOW = '1s'
const CURVE_FORM = "{ windows: ['50ms', '100ms', '1s'] }"

/** The VM that is measured. */
export interface Measured {
  vm: NativeVirtualMachine
  log: DirtyLogKind
  pageSize: number
  /** Whether this kernel has dirty rings. */
  kernelHasRing: boolean
  /** The warnings that each exact measurement has. */
  warnings: readonly Warning[]
  uri(): string
}

/** A mode, and the samples that it takes if it is page sampling. */
interface Choice {
  mode: Mode
  samples?: NativeSampleOptions
}

export class Meter {
  readonly #of: Measured
  readonly #measurements: Measurements
  readonly #dirtyRate: DirtyRateClient
  readonly #history: History<VirtualMachineMeasurement>
  readonly events: Emitter<MeasurementEvents> = new Emitter()
  #lastId = 0

  constructor(of: Measured, measurements: Measurements, dirtyRate: DirtyRateClient, historySize: number) {
    this.#of = of
    this.#measurements = measurements
    this.#dirtyRate = dirtyRate
    this.#history = new History(historySize)
  }

  get history(): VirtualMachineMeasurement[] {
    return this.#history.entries()
  }

  async measure(
    options: MeasureOptions,
    by: 'measure' | 'calc' = 'measure',
  ): Promise<VirtualMachineMeasurement> {
    const windowMs = parseWindow(parseOptions(options, MEASURE).window ?? DEFAULT_WINDOW, 'window')
    const choice = this.#choose(options)
    return this.#measurements.run(options.signal, interruption =>
      this.#reported(by, choice.mode, [windowMs], interruption, async startedAt => {
        const [figures] = await this.#figures(choice, [windowMs], interruption)
        return this.#result(figures as Figures, startedAt)
      }),
    )
  }

  async curve(options: CurveOptions): Promise<DirtyRateCurve> {
    const windowsMs = parseWindows(parseOptions(options, CURVE, 'options', CURVE_FORM).windows, 'windows')
    const choice = this.#choose(options)
    return this.#measurements.run(options.signal, interruption =>
      this.#reported('curve', choice.mode, windowsMs, interruption, async startedAt =>
        curveOf(await this.#figures(choice, windowsMs, interruption), this.#frame(startedAt)),
      ),
    )
  }

  watch(options: WatchOptions): Rounds<VirtualMachineMeasurement> {
    const everyMs = parseWindow(parseOptions(options, WATCH).every ?? DEFAULT_WINDOW, 'every')
    const choice = this.#choose(options)
    return new Rounds(this.#measurements, options.signal, interruption =>
      this.#watched(choice, everyMs, interruption),
    )
  }

  /** Throws ERR_ARGUMENT, ERR_MODE_UNAVAILABLE. */
  #choose(options: CommonOptions): Choice {
    const mode = chooseMode(options.mode ?? 'auto', this.#of.log, this.#of.kernelHasRing)
    if (mode === 'page-sampling') return { mode, samples: parseSampling(options) }
    refuseSampling(mode, options)
    return { mode }
  }

  async *#watched(
    choice: Choice,
    everyMs: number,
    interruption: Interruption,
  ): AsyncGenerator<VirtualMachineMeasurement, void, undefined> {
    const { mode, samples } = choice
    const { token } = interruption
    const source =
      samples === undefined
        ? this.#exactRounds(everyMs, token)
        : samplingRounds(this.#of.vm, samples, everyMs, token)
    try {
      // An exact window opens where the one before it was closed, whenever the next round is asked for.
      let opened = new Date()
      for (;;) {
        yield await this.#reported('watch', mode, [everyMs], interruption, async askedAt => {
          const { value } = await source.next()
          const startedAt = samples === undefined ? opened : askedAt
          opened = new Date()
          return this.#result(value as Figures, startedAt)
        })
      }
    } finally {
      await source.return()
    }
  }

  async *#exactRounds(everyMs: number, token: CancelToken): AsyncGenerator<Figures, void, undefined> {
    for await (const round of exactRounds(this.#of.vm, everyMs, token)) yield this.#exact(round)
  }

  #figures(
    choice: Choice,
    windowsMs: readonly number[],
    { token, signal }: Interruption,
  ): Promise<Figures[]> {
    const { vm } = this.#of
    if (choice.samples !== undefined) return samplePages(vm, choice.samples, windowsMs, token)
    return this.#withClient(signal, async client => {
      const rounds = await measureExactly(vm, client, windowsMs, token)
      return rounds.map(round => this.#exact(round))
    })
  }

  #exact(round: ExactRound): Figures {
    const { log, pageSize, warnings } = this.#of
    const figures = log === 'ring' ? ringFigures(round, pageSize) : bitmapFigures(round, pageSize)
    return { ...figures, warnings: [...warnings, ...figures.warnings] }
  }

  /** A result stays right if the log cannot be turned off after it: it then has a warning. */
  async #withClient(
    signal: AbortSignal,
    measure: (client: string) => Promise<Figures[]>,
  ): Promise<Figures[]> {
    const { client, giveBack } = await this.#dirtyRate.acquire(signal)
    let figures: Figures[]
    try {
      figures = await measure(client)
    } catch (error) {
      // The caller must see what ended the measurement, and not that the log could not be turned off after that.
      await giveBack().catch(() => undefined)
      throw error
    }
    try {
      await giveBack()
    } catch (error) {
      const warning = logLeftOn(fromNative(error))
      return figures.map(of => ({ ...of, warnings: [...of.warnings, warning] }))
    }
    return figures
  }

  #result(measured: Figures, startedAt: Date): VirtualMachineMeasurement {
    const figures = { ...measured, warnings: [...windowWarnings(measured), ...measured.warnings] }
    traceCalculation(figures)
    const result = measurementOf(figures, this.#frame(startedAt))
    this.#history.add(result)
    return result
  }

  #frame(startedAt: Date): Frame {
    return { target: this.#of.uri(), startedAt, pageSize: this.#of.pageSize }
  }

  /** Runs `measure` between its events. */
  async #reported<T extends VirtualMachineMeasurement | DirtyRateCurve>(
    by: MeasurementBegun['by'],
    mode: Mode,
    windowsMs: readonly number[],
    interruption: Interruption,
    measure: (startedAt: Date) => Promise<T>,
  ): Promise<T> {
    const startedAt = new Date()
    const begun = { id: ++this.#lastId, by, mode, windowsMs, startedAt: startedAt.toISOString() }
    emit('debug', TARGET, 'measurement began', { id: begun.id, by, mode, windowsMs })
    this.events.emit('start', begun)
    try {
      const result = await measure(startedAt)
      interruption.check()
      emit('debug', TARGET, 'measurement done', { id: begun.id, by, ...summaryOf(result) })
      this.events.emit(result.complete ? 'done' : 'incomplete', { ...begun, result })
      return result
    } catch (thrown) {
      const error = interruption.explain(thrown)
      emit('debug', TARGET, 'measurement ended early', { id: begun.id, by, error })
      this.events.emit('failed', { ...begun, error })
      throw thrown
    }
  }
}

/** What the log says about a result. */
function summaryOf(result: VirtualMachineMeasurement | DirtyRateCurve): Record<string, unknown> {
  if ('points' in result) return { points: result.points.length }
  return { pages: result.pages, windowNs: result.window.ns }
}
