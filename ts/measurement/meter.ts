/**
 * All ways of measuring one target: once, as a curve, or round after round. The meter emits the
 * events and keeps the history.
 */

import { performance } from 'node:perf_hooks'
import type { Signal } from '../ground/abort.js'
import { parseOptions } from '../ground/arguments.js'
import { hasCode, isDirtyRateError } from '../ground/errors.js'
import { emit } from '../ground/log.js'
import { type DirtyRateMeasurement, dirtyRateInfo, type WithInfo } from '../qapi/info.js'
import { traceCalculation } from '../qapi/trace.js'
import type { CurveOf, DirtyRateCurve } from '../results/curve.js'
import { freeze } from '../results/freeze.js'
import type { Figures, Frame } from '../results/measurement.js'
import type { Warning } from '../results/warning.js'
import { withCells } from './cells.js'
import { contentsWanted, withContents } from './contents.js'
import { curveOf } from './curve.js'
import { Emitter, type MeasurementBegun, type MeasurementEvents } from './events.js'
import { parseGranularities } from './granularities.js'
import { History } from './history.js'
import { type Interruption, Measurements } from './measurements.js'
import { chooseMethod } from './mode.js'
import {
  CURVE,
  type CurveOptions,
  MEASURE,
  type MeasureOptions,
  WATCH,
  type WatchOptions,
} from './options.js'
import { RepeatedCurves } from './repeated.js'
import { parseKeepRounds, parseRepetition } from './repetition.js'
import { LARGEST_SEED } from './sampling.js'
import type { CurveDetail, Method, Round, Source } from './source.js'
import { interruptedWarning, windowWarnings } from './warnings.js'
import { Watch } from './watch.js'
import { parseWindow, parseWindows } from './windows.js'

/** The `target` of the meter's log events, in the form of the core's module names. */
const TARGET = 'dirtyrate::measurement'
const DEFAULT_WINDOW = '1s'
const CURVE_FORM = "{ windows: ['50ms', '100ms', '1s'] }"

/** The result of a source whose figures are `F`. */
export type ResultOf<F extends Figures> = WithInfo<Frame & F>

/** Which method started a measurement. */
type Caller = MeasurementBegun['by']

/** The target to which a source belongs, as far as the meter needs it. */
interface Owner {
  /** Its URI. */
  uri(): string
  /** Throws ERR_CLOSED if it is closed. */
  requireOpen(): void
  /** How many results it keeps. */
  readonly historySize: number
}

export class Meter<F extends Figures = Figures> {
  readonly #source: Source<F>
  readonly #uri: () => string
  readonly #history: History<ResultOf<F>>
  readonly measurements: Measurements
  readonly events: Emitter<MeasurementEvents<ResultOf<F>, CurveOf<F>>> = new Emitter()
  #lastId = 0

  constructor(source: Source<F>, { uri, requireOpen, historySize }: Owner) {
    this.#source = source
    this.#uri = uri
    this.#history = new History(historySize)
    this.measurements = new Measurements({
      requireMeasurable() {
        requireOpen()
        source.requireMeasurable()
      },
      explain: error => source.explain(error),
    })
  }

  get history(): ResultOf<F>[] {
    return this.#history.entries()
  }

  /** Keeps at most so many results from now on. */
  limitHistory(size: number): void {
    this.#history.limit(size)
  }

  async measure(options: MeasureOptions, by: 'measure' | 'calc' = 'measure'): Promise<ResultOf<F>> {
    const { window = DEFAULT_WINDOW, cells } = parseOptions(options, MEASURE)
    const windowMs = parseWindow(window, 'window')
    const method = withCells(chooseMethod(this.#source, options), cells, this.#source)
    return this.measurements.run(options.signal, interruption =>
      this.#reported(by, method, [windowMs], interruption, async startedAt => {
        const [round] = await this.#source.measure(method, [windowMs], interruption.signal)
        return this.#result(round as Round<F>, startedAt)
      }),
    )
  }

  async curve(options: CurveOptions): Promise<CurveOf<F>> {
    const given = parseOptions(options, CURVE, 'options', CURVE_FORM)
    const windowsMs = parseWindows(given.windows, 'windows')
    const repetition = parseRepetition(given, windowsMs.at(-1) ?? 0)
    const method = chooseMethod(this.#source, options)
    const detail = { granularities: parseGranularities(given.granularities, this.#source, method) }
    const contents = contentsWanted(given.compressibility, this.#source)
    const keepRounds = parseKeepRounds(given.keepRounds, repetition)
    return this.measurements.run(options.signal, interruption =>
      this.#reported('curve', method, windowsMs, interruption, async startedAt => {
        const { signal } = interruption
        const whole = (curve: CurveOf<F>): Promise<CurveOf<F>> =>
          withContents(curve, contents, method, signal)
        if (repetition === undefined) {
          const rounds = await this.#source.measure(method, windowsMs, signal, detail)
          return freeze(await whole(curveOf(rounds, this.#frame(startedAt))))
        }
        const repeated = new RepeatedCurves(this.#frame(startedAt))
        // Each round has the members of the target's curves, and so have their means.
        const means = (warnings?: Warning[]): CurveOf<F> => repeated.result(warnings) as CurveOf<F>
        try {
          const begun = performance.now()
          for await (const curve of this.#curves(method, windowsMs, signal, detail)) {
            repeated.add(curve as DirtyRateCurve)
            interruption.check()
            if (repetition.isOver(repeated.count, performance.now() - begun)) break
          }
          return freeze(await whole(means()))
        } catch (error) {
          const why = interruption.isOfCaller ? undefined : interruption.explain(error)
          const isKept = keepRounds && repeated.count > 0 && !hasCode(why, 'ERR_CLOSED')
          if (!isKept || !(why === undefined || isDirtyRateError(why))) throw error
          interruption.forget()
          return freeze(means([interruptedWarning(repeated.count, why)]))
        }
      }),
    )
  }

  /** Curves one after the other. Page sampling chooses other pages for each of them. */
  async *#curves(
    method: Method,
    windowsMs: readonly number[],
    signal: Signal,
    detail: CurveDetail,
  ): AsyncGenerator<CurveOf<F>, void, undefined> {
    let openedAt = new Date()
    const rounds =
      this.#source.curves?.(method, windowsMs, signal, detail) ??
      this.#measuredCurves(method, windowsMs, signal, detail)
    for await (const curve of rounds) {
      yield curveOf(curve, this.#frame(curve[0]?.openedAt ?? openedAt))
      openedAt = new Date()
    }
  }

  async *#measuredCurves(
    method: Method,
    windowsMs: readonly number[],
    signal: Signal,
    detail: CurveDetail,
  ): AsyncGenerator<Round<F>[], void, undefined> {
    // The guest is observed before the first curve only, because that takes time, in which nothing
    // is measured.
    for (let round = 0; ; round++) {
      const of = { ...detail, baseline: { before: round === 0, after: false } }
      yield await this.#source.measure(ofRound(method, round), windowsMs, signal, of)
    }
  }

  watch(options: WatchOptions): Watch<ResultOf<F>> {
    const { every = DEFAULT_WINDOW, cells } = parseOptions(options, WATCH)
    const everyMs = parseWindow(every, 'every')
    const method = withCells(chooseMethod(this.#source, options), cells, this.#source)
    return new Watch(this.measurements, options.signal, interruption =>
      this.#watched(method, everyMs, interruption),
    )
  }

  async *#watched(
    method: Method,
    everyMs: number,
    interruption: Interruption,
  ): AsyncGenerator<ResultOf<F>, void, undefined> {
    const rounds = this.#source.rounds(method, everyMs, interruption.signal)
    try {
      for (;;) {
        yield await this.#reported('watch', method, [everyMs], interruption, async askedAt => {
          const { value } = await rounds.next()
          return this.#result(value as Round<F>, askedAt)
        })
      }
    } finally {
      await rounds.return()
    }
  }

  #result(round: Round<F>, askedAt: Date): ResultOf<F> {
    const warnings = [...windowWarnings(round), ...round.figures.warnings]
    const measured: Frame & F = {
      ...this.#frame(round.openedAt ?? askedAt),
      ...round.figures,
      warnings,
    }
    return freeze({ ...measured, qapi: round.info ?? dirtyRateInfo(measured) })
  }

  #keep(result: ResultOf<F>): void {
    traceCalculation(result as DirtyRateMeasurement)
    this.#history.add(result)
  }

  #frame(startedAt: Date): Frame {
    return { schemaVersion: 1, target: this.#uri(), startedAt: startedAt.toISOString() }
  }

  /** Runs `measure`, and emits an event before and after it. */
  async #reported<T extends ResultOf<F> | CurveOf<F>>(
    by: Caller,
    { mode }: Method,
    windowsMs: readonly number[],
    interruption: Interruption,
    measure: (startedAt: Date) => Promise<T>,
  ): Promise<T> {
    const startedAt = new Date()
    const begun = freeze({
      id: ++this.#lastId,
      by,
      mode,
      windowsMs,
      startedAt: startedAt.toISOString(),
    })
    emit('debug', TARGET, 'measurement began', { id: begun.id, by, mode, windowsMs })
    this.events.emit('start', begun)
    try {
      const result = await measure(startedAt)
      interruption.check()
      // From here on the measurement has its result, also if a listener interrupts it.
      if (!('points' in result)) this.#keep(result as ResultOf<F>)
      emit('debug', TARGET, 'measurement done', { id: begun.id, by, ...summaryOf(result) })
      this.events.emit(result.complete ? 'done' : 'incomplete', Object.freeze({ ...begun, result }))
      return result
    } catch (thrown) {
      const error = interruption.explain(thrown)
      emit('debug', TARGET, 'measurement ended early', { id: begun.id, by, error })
      this.events.emit('failed', Object.freeze({ ...begun, error }))
      throw thrown
    }
  }
}

/**
 * The method of one of several curves. With a given seed each of them has a seed of its own,
 * because the errors of curves with the same samples would not cancel each other in the mean.
 */
function ofRound(method: Method, round: number): Method {
  if (method.mode !== 'page-sampling' || method.samples.seed === undefined) return method
  const seed = (method.samples.seed + round) % (LARGEST_SEED + 1)
  return { ...method, samples: { ...method.samples, seed } }
}

/** The fields of a result for the log. */
function summaryOf(result: (Frame & Figures) | DirtyRateCurve): Record<string, unknown> {
  if ('points' in result) return { points: result.points.length }
  return { pages: result.pages, windowNs: result.window.ns }
}
