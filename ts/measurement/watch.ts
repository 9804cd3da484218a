/** Round after round: where the rounds come from, and the iterator that a loop over them drives. */

import { DirtyRateError } from '../ground/errors.js'
import type { CancelToken, NativeSampleOptions, NativeVirtualMachine } from '../ground/native.js'
import type { Figures, VirtualMachineMeasurement } from '../results/measurement.js'
import { accumulator } from '../targets/vm/client.js'
import { costOf, type ExactRound, type Opening, openWindow } from '../targets/vm/five-steps.js'
import { samplePages } from '../targets/vm/page-sampling.js'
import { WITHIN } from '../targets/vm/running.js'
import type { Interruption, Measurements } from './measurements.js'

const NS_PER_MS = 1e6

/** Where the current window opened, and when the next one may end: both in ms from the first opening. */
export class Schedule {
  readonly #everyMs: number
  readonly #now: () => number
  /** The opening of the first window, as this side's clock saw it. */
  readonly #start: number
  #opened = 0

  constructor(everyMs: number, now: () => number = () => performance.now()) {
    this.#everyMs = everyMs
    this.#now = now
    this.#start = now()
  }

  /**
   * How long the window that is open has to be, to end at the first multiple that is still ahead. A multiple less than half a period after a
   * late opening is passed over, because a window of next to nothing teaches nobody anything.
   */
  nextWindowMs(): number {
    const now = Math.max(this.#opened, this.#now() - this.#start)
    const multiple = Math.max(
      Math.ceil(now / this.#everyMs),
      Math.floor(this.#opened / this.#everyMs + 0.5) + 1,
    )
    return multiple * this.#everyMs - this.#opened
  }

  /** The next window opened `afterNs` after the one before, by the clock of the native thread. This side's clock only decides what has passed. */
  reopened(afterNs: number): void {
    this.#opened += afterNs / NS_PER_MS
  }
}

/**
 * Rounds of an exact mode: the steps 1 to 3 once, then 4 and 5 in one call each time. One client tracks from the first opening until the
 * loop is left, and its bits are taken with each sync: a page written at any time in between is in one of the rounds. Deadlines are
 * multiples of `everyMs` from the first opening. A loop that asks late gets one longer window.
 */
export async function* exactRounds(
  vm: NativeVirtualMachine,
  everyMs: number,
  cancel: CancelToken,
): AsyncGenerator<ExactRound, void, undefined> {
  const { client, giveBack } = accumulator(vm)
  try {
    let opening: Opening | undefined = await openWindow(vm, client, cancel)
    const schedule = new Schedule(everyMs)
    for (;;) {
      const windowMs = schedule.nextWindowMs()
      const { report, reopenedNs } = await vm.takeAt(client, windowMs, cancel)
      schedule.reopened(reopenedNs)
      // Whole multiples are asked for. A window is shorter than that by the lateness of the window before it.
      const requestedMs = Math.max(1, Math.round(windowMs / everyMs)) * everyMs
      const { reap, lateNs, sync } = report
      yield { requestedMs, lateNs, explainedNs: sync.ns, reap, cost: costOf(vm, opening, [report]) }
      opening = undefined
    }
  } finally {
    // The loop must see what ended the rounds, and not that the log could not be turned off after that.
    await giveBack().catch(() => undefined)
  }
}

/** Rounds of page sampling: windows of `everyMs`, one as soon as the one before is over and asked for. */
export async function* samplingRounds(
  vm: NativeVirtualMachine,
  options: NativeSampleOptions,
  everyMs: number,
  cancel: CancelToken,
): AsyncGenerator<Figures, void, undefined> {
  for (;;) yield* await samplePages(vm, options, [everyMs], cancel)
}

/** What `vm.watchDirtyRate()` gives: for a loop by `for await`, or to be asked for one round after the other. */
export interface DirtyRateWatch extends AsyncIterable<VirtualMachineMeasurement> {
  /** The next measurement; it begins when it is asked for. Done when the watch has ended. */
  next(): Promise<IteratorResult<VirtualMachineMeasurement, void>>
  /** Ends it, also while a round is under way. */
  return(): Promise<IteratorResult<VirtualMachineMeasurement, void>>
  /** The watch itself: a loop over it and `next()` ask for the same rounds. */
  [Symbol.asyncIterator](): DirtyRateWatch
}

/**
 * The iterator over `rounds`. Nothing begins before the first `next()`; leaving the loop, an abort, a failure, and what interrupts the
 * VM's measurements end it and clean up at once, also between two rounds. A failure is reported once; then the loop is over.
 */
export class Rounds<T> implements AsyncIterable<T> {
  readonly #measurements: Measurements
  readonly #signal: AbortSignal | undefined
  readonly #rounds: (interruption: Interruption) => AsyncGenerator<T, void, undefined>
  #entered: ReturnType<Measurements['enter']> | undefined
  #generator: AsyncGenerator<T, void, undefined> | undefined
  #over = false
  #left = false
  /** The call of `next()` before: one after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(
    measurements: Measurements,
    signal: AbortSignal | undefined,
    rounds: (interruption: Interruption) => AsyncGenerator<T, void, undefined>,
  ) {
    this.#measurements = measurements
    this.#signal = signal
    this.#rounds = rounds
  }

  next(): Promise<IteratorResult<T, void>> {
    const next = this.#turn.then(() => this.#next())
    this.#turn = next.catch(() => undefined)
    return next
  }

  async return(): Promise<IteratorResult<T, void>> {
    this.#left = true
    this.#entered?.interruption.interrupt(
      new DirtyRateError('ERR_CANCELLED', `the loop over the watch was left ${WITHIN}`),
    )
    await this.#cleanUp()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async #next(): Promise<IteratorResult<T, void>> {
    if (this.#over || this.#left) return { done: true, value: undefined }
    try {
      const { interruption } = this.#enter()
      interruption.check()
      const round = await this.#generator?.next()
      interruption.check()
      if (round !== undefined) return round
      throw new RangeError('a watch has rounds without end')
    } catch (error) {
      const said = this.#entered === undefined ? error : this.#entered.interruption.explain(error)
      this.#over = true
      await this.#cleanUp()
      if (this.#isLeft()) return { done: true, value: undefined }
      throw said
    }
  }

  #enter(): ReturnType<Measurements['enter']> {
    if (this.#entered !== undefined) return this.#entered
    let cleanedUp = (): void => {}
    const cleaned = new Promise<void>(resolve => {
      cleanedUp = resolve
    })
    const onInterrupt = (): void => void this.#cleanUp().then(cleanedUp)
    this.#entered = this.#measurements.enter(this.#signal, onInterrupt, cleaned)
    this.#generator = this.#rounds(this.#entered.interruption)
    return this.#entered
  }

  /** It may have been left while a round was under way. */
  #isLeft(): boolean {
    return this.#left
  }

  /** Queued behind a round that is under way, which the token has cancelled. */
  async #cleanUp(): Promise<void> {
    await this.#generator?.return().catch(() => undefined)
    this.#entered?.leave()
  }
}
