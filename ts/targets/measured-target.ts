/**
 * The common part of all kinds of targets: the ways of measuring, events, history, and QEMU's job.
 * A kind of target adds its source.
 */

import { parseChoice, parseListener } from '../ground/arguments.js'
import { DirtyRateError } from '../ground/errors.js'
import { suitableCellBytes } from '../measurement/cells.js'
import type { MeasurementEvents } from '../measurement/events.js'
import { DEFAULT_HISTORY } from '../measurement/history.js'
import { Meter, type ResultOf } from '../measurement/meter.js'
import type { WantedMode } from '../measurement/mode.js'
import type { CurveOptions, MeasureOptions, WatchOptions } from '../measurement/options.js'
import type { Source } from '../measurement/source.js'
import type { DirtyRateWatch } from '../measurement/watch.js'
import { DirtyRateJob } from '../qapi/dirty-rate-job.js'
import type {
  CalcDirtyRateArguments,
  DirtyRateInfo,
  QueryDirtyRateArguments,
} from '../qapi/types.js'
import type { CurveOf } from '../results/curve.js'
import type { Figures } from '../results/measurement.js'
import type { InMode, Mode } from '../results/mode.js'
import type { Target, TargetDescription } from './target.js'

/**
 * A target over a source whose figures are `F`. A kind of target adds its URI and its description,
 * and frees in `release` what it holds.
 */
export abstract class MeasuredTarget<F extends Figures = Figures>
  implements Target<ResultOf<F>, CurveOf<F>>
{
  readonly #source: Source<F>
  readonly #meter: Meter<F>
  readonly #job: DirtyRateJob
  #closed = false

  /**
   * `historySize` is how many results the target keeps.
   *
   * @internal
   */
  protected constructor(source: Source<F>, historySize: number = DEFAULT_HISTORY) {
    this.#source = source
    this.#meter = new Meter(source, {
      uri: () => this.uri,
      requireOpen: () => this.requireOpen(),
      historySize,
    })
    this.#job = new DirtyRateJob({
      modes: this.modes,
      requireMeasurable: () => source.requireMeasurable(),
      measure: request => this.#meter.measure(request, 'calc'),
    })
  }

  /** The target URI, which opens the same target again. */
  abstract get uri(): string
  abstract describe(): Promise<TargetDescription>
  /** The modes that it can be measured in. `auto` is the first of them. */
  get modes(): readonly Mode[] {
    return this.#source.modes.map(({ mode }) => mode)
  }

  /**
   * Whether this package looks at the memory of the VM, so that a curve has `regions` and can have
   * `compressibility`.
   */
  get readsMemory(): boolean {
    return this.#source.contents !== undefined
  }

  /** @internal */
  get exactPageSize(): number | undefined {
    return this.#source.exactPageSize
  }

  /** @internal */
  get suitableCellBytes(): number | undefined {
    const layout = this.#source.memoryLayout?.()
    return layout && suitableCellBytes(layout.blockBytes)
  }

  /**
   * The last measurements, oldest first: those of measureDirtyRate, of calcDirtyRate, and the
   * rounds of watchDirtyRate. Nobody can change them.
   */
  get history(): ResultOf<F>[] {
    return this.#meter.history
  }

  /** @internal */
  limitHistory(size: number): void {
    this.#meter.limitHistory(size)
  }

  /**
   * Calls `listener` at each event of that name. The returned function removes it. A listener that
   * throws disturbs no measurement.
   *
   * @example
   * ```ts
   * const stop = vm.on('done', ({ id, result }) => console.log(id, result.mode))
   * await vm.measureDirtyRate({ window: '50ms' })
   * stop()
   * ```
   */
  on<Name extends keyof MeasurementEvents<ResultOf<F>, CurveOf<F>>>(
    name: Name,
    listener: (event: MeasurementEvents<ResultOf<F>, CurveOf<F>>[Name]) => void,
  ): () => void {
    parseChoice(name, 'event', ['start', 'done', 'incomplete', 'failed'])
    this.requireOpen()
    return this.#meter.events.on(name, parseListener(listener, 'listener'))
  }

  /**
   * Measures one window. Several measurements may run at the same time, and each of them is right.
   * Rejects with ERR_ARGUMENT, ERR_MODE_UNAVAILABLE, ERR_STATE, ERR_PAUSED, ERR_GUEST_CRASHED,
   * ERR_CLOSED, or the signal's reason. Then the log is off, and the VM can still be used.
   *
   * @example
   * ```ts
   * const { bytesPerSecond, complete } = await vm.measureDirtyRate({ window: '200ms' })
   * console.log(bytesPerSecond, complete)
   * ```
   */
  async measureDirtyRate<W extends WantedMode = WantedMode>(
    options: MeasureOptions<W> = {},
  ): Promise<InMode<ResultOf<F>, W>> {
    return (await this.#meter.measure(options)) as InMode<ResultOf<F>, W>
  }

  /**
   * Measures distinct pages for every window, from one run. Rejects as {@link measureDirtyRate}.
   *
   * @example
   * ```ts
   * const { points } = await vm.measureDirtyCurve({ windows: ['50ms', '100ms', '200ms'] })
   * for (const { requestedMs, pages } of points) console.log(requestedMs, pages)
   * ```
   */
  async measureDirtyCurve<W extends WantedMode = WantedMode>(
    options: CurveOptions<W>,
  ): Promise<InMode<CurveOf<F>, W>> {
    return (await this.#meter.curve(options)) as InMode<CurveOf<F>, W>
  }

  /**
   * Measures round after round, for as long as the loop asks. In an exact mode tracking stays on
   * between two rounds, so each page that is written after the first round began is in one of the
   * rounds. Mode soft-dirty is the exception: what is written between two rounds is in neither.
   * Rounds end at multiples of `every`. If the loop is slow, it gets one longer window.
   * Throws ERR_ARGUMENT, ERR_MODE_UNAVAILABLE; the loop throws what {@link measureDirtyRate}
   * rejects with. However the loop is left, the watch cleans up.
   *
   * @example
   * ```ts
   * for await (const { bytesPerSecond } of vm.watchDirtyRate({ every: '100ms' })) {
   *   console.log(bytesPerSecond)
   *   if (bytesPerSecond < 125e6) break // A network of 1 Gbit/s keeps up.
   * }
   * ```
   */
  watchDirtyRate<W extends WantedMode = WantedMode>(
    options: WatchOptions<W> = {},
  ): DirtyRateWatch<InMode<ResultOf<F>, W>> {
    return this.#meter.watch(options) as DirtyRateWatch<unknown> as DirtyRateWatch<
      InMode<ResultOf<F>, W>
    >
  }

  /**
   * QEMU's calc-dirty-rate, which starts a measurement and resolves at once. Rejects with QapiError
   * (ERR_QAPI), which has QEMU's texts, or as {@link measureDirtyRate}.
   */
  async calcDirtyRate(args: CalcDirtyRateArguments): Promise<void> {
    this.requireOpen()
    this.#job.calc(args)
  }

  /** QEMU's query-dirty-rate. If the last job has failed, this rejects with its error. */
  async queryDirtyRate(args: QueryDirtyRateArguments = {}): Promise<DirtyRateInfo> {
    // If closing the target has ended the job, the error of the job says so.
    if (!this.#job.endedByClose) this.requireOpen(this.#job.measuring)
    return this.#job.query(args)
  }

  /** Ends the use of the target. Measurements under way reject with ERR_CLOSED. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const interrupted = this.interruptMeasurements(this.closedError(true))
    this.release()
    await interrupted
  }

  /**
   * Frees what the target holds, after its measurements were told to end.
   *
   * @internal
   */
  protected release(): void {}

  /** @internal */
  protected isClosed(): boolean {
    return this.#closed
  }

  /** {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /**
   * Throws ERR_CLOSED if the target is closed. `measuring` says that it was closed during a
   * measurement.
   *
   * @internal
   */
  protected requireOpen(measuring = false): void {
    if (!this.isClosed()) return
    throw this.closedError(measuring)
  }

  /**
   * The error of a target that is closed, or that was closed while it was measured.
   *
   * @internal
   */
  protected closedError(measuring: boolean): DirtyRateError {
    const { subject, hint } = this.closedText()
    return new DirtyRateError(
      'ERR_CLOSED',
      measuring ? `the ${subject} was closed within the window` : `the ${subject} is closed`,
      hint === undefined ? {} : { hint },
    )
  }

  /**
   * What the error of a closed target calls the target, and its hint.
   *
   * @internal
   */
  protected closedText(): { subject: string; hint?: string } {
    return { subject: 'target', hint: `Open it again: openTarget('${this.uri}').` }
  }

  /**
   * Ends every measurement with `error`. Resolves when all of them have cleaned up.
   *
   * @internal
   */
  protected interruptMeasurements(error: DirtyRateError): Promise<void> {
    return this.#meter.measurements.interruptAll(error)
  }
}
