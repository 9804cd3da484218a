/** The targets that are served now. Each is measured in rounds of its own. */

import { setMaxListeners } from 'node:events'
import { argumentError } from '../../ground/errors.js'
import { allowance } from '../../server/allowance.js'
import type { Pace } from '../../server/pace.js'
import { Rounds, type RoundsListener, type RoundsPlan } from '../../server/rounds.js'
import type { Settings } from './settings.js'

/** A target that is to be served. */
export interface FleetTarget {
  /** What it is recognised by in the next list of targets. */
  readonly key: string
  readonly uri: string
  /** What people and metrics call it. */
  readonly label: string
  /** The name of its VM, if it is known. */
  readonly name?: string | undefined
  /** Whether somebody named it at the start, so that a mistake in it ends the command. */
  readonly isNamed: boolean
  readonly settings: Settings
}

/** What hears of a target for as long as it is served. */
export interface FleetListener extends RoundsListener {
  /** It goes on with other settings. */
  changed?(target: FleetTarget): void
  /** It is not served any more. */
  gone(): void
}

interface Served {
  target: FleetTarget
  readonly listener: FleetListener
  /** Where in its period the rounds begin, from 0 to 1. */
  readonly phase: number
  rounds: Rounds
  stop: AbortController
  /** Resolves when its target is closed. */
  done: Promise<void>
}

/** So many curves can be asked for at once, and then one in each `ASKED_EVERY_MS`. */
const MOST_ASKED = 10
const ASKED_EVERY_MS = 5_000
const REFUSALS: Readonly<Partial<Record<ReturnType<Rounds['wantCurve']>, string>>> = {
  never: 'The server measures no curves, because of --curve-every never.',
  recent: 'The last curve has just been measured. Ask again in a while.',
  refused: 'Too many curves were asked for in the last minute. Ask again in a while.',
}

/** Multiples of it, without their whole parts, are spread evenly, however many there are. */
const GOLDEN_RATIO = (Math.sqrt(5) - 1) / 2

export class Fleet {
  readonly #served = new Map<string, Served>()
  readonly #listen: (target: FleetTarget) => FleetListener
  readonly #pace: Pace
  readonly #signal: AbortSignal
  /** Targets that are being closed. */
  readonly #closing = new Set<Promise<void>>()
  readonly #over: Promise<void>
  #fail: (error: unknown) => void = () => {}
  #begun = 0
  readonly #isAskedTooOften = allowance(MOST_ASKED, ASKED_EVERY_MS)

  /** `listen` makes the listener of a further target. */
  constructor(listen: (target: FleetTarget) => FleetListener, pace: Pace, signal: AbortSignal) {
    this.#listen = listen
    this.#pace = pace
    this.#signal = signal
    this.#over = new Promise((resolve, reject) => {
      this.#fail = reject
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    // Each target listens, and Node warns of more than ten listeners as of a leak.
    setMaxListeners(0, signal)
  }

  get targets(): FleetTarget[] {
    return [...this.#served.values()].map(({ target }) => target)
  }

  /**
   * Lets the next round of a target measure a curve too. Throws ERR_ARGUMENT if there is no such
   * target, if it has no curves, and if curves are asked for too often.
   */
  wantCurve(uri: string): void {
    const served = [...this.#served.values()].find(({ target }) => target.uri === uri)
    if (served === undefined) throw argumentError('There is no such target.')
    const answer = served.rounds.wantCurve(() => !this.#isAskedTooOften())
    const refusal = REFUSALS[answer]
    if (refusal !== undefined) throw argumentError(refusal)
  }

  /** Serves these targets from now on, and no others. What is known of the others is kept. */
  serve(targets: readonly FleetTarget[]): void {
    const keys = new Set(targets.map(({ key }) => key))
    for (const [key, served] of this.#served) {
      if (keys.has(key)) continue
      this.#served.delete(key)
      served.listener.gone()
      this.#stop(served)
    }
    for (const target of targets) {
      const served = this.#served.get(target.key)
      if (served === undefined) this.#begin(target)
      else if (isOther(served.target, target)) this.#change(served, target)
    }
  }

  /** Resolves when the signal is aborted. Rejects with a mistake in a target that was named. */
  async ended(): Promise<void> {
    await this.#over
  }

  /** Resolves when all targets are closed, after the signal is aborted. */
  async closed(): Promise<void> {
    await Promise.all([...this.#closing, ...[...this.#served.values()].map(({ done }) => done)])
  }

  #begin(target: FleetTarget): void {
    const phase = (this.#begun++ * GOLDEN_RATIO) % 1
    const listener = this.#listen(target)
    const served = { target, listener, phase, ...this.#run(target, listener, phase) }
    this.#served.set(target.key, served)
  }

  #change(served: Served, target: FleetTarget): void {
    const before = served.target.settings
    served.target = target
    served.listener.changed?.(target)
    if (before.opening === target.settings.opening) {
      served.rounds.change(planOf(target, served.phase))
      return
    }
    // Two measurements of one VM could disturb each other.
    const closed = this.#stop(served)
    Object.assign(served, this.#run(target, served.listener, served.phase, closed))
  }

  #stop({ stop, done }: Served): Promise<void> {
    stop.abort(STOPPED)
    this.#closing.add(done)
    return done.finally(() => this.#closing.delete(done))
  }

  #run(
    target: FleetTarget,
    listener: FleetListener,
    phase: number,
    before: Promise<void> = Promise.resolve(),
  ): Pick<Served, 'rounds' | 'stop' | 'done'> {
    const stop = new AbortController()
    setMaxListeners(0, stop.signal)
    const end = (): void => stop.abort(this.#signal.reason)
    if (this.#signal.aborted) end()
    else this.#signal.addEventListener('abort', end, { once: true })
    const open = (): ReturnType<Settings['open']> => target.settings.open(target.uri, stop.signal)
    const rounds = new Rounds(open, planOf(target, phase), heard(listener, stop.signal), this.#pace)
    const done = before
      .then(() => rounds.run(stop.signal))
      .catch((error: unknown) => this.#fail(error))
      .finally(() => this.#signal.removeEventListener('abort', end))
    return { rounds, stop, done }
  }
}

/** Whether something is new about a target. The name of a VM that starts is known a bit later. */
const isOther = (one: FleetTarget, other: FleetTarget): boolean =>
  one.settings.all !== other.settings.all || one.name !== other.name

/** The reason of the end of a target that is not served any more. */
const STOPPED = new Error('the target is not served any more')

/** The listener, which hears of nothing after the end of its target. */
function heard(listener: FleetListener, signal: AbortSignal): RoundsListener {
  const unless = <Args extends unknown[]>(tell: (...args: Args) => void) => {
    return (...args: Args): void => {
      if (!signal.aborted) tell(...args)
    }
  }
  return {
    described: unless(description => listener.described(description)),
    followed: unless(() => listener.followed()),
    measured: unless((...result) => listener.measured(...result)),
    curveMeasured: async (...curve) => {
      if (!signal.aborted) await listener.curveMeasured(...curve)
    },
    curveFailed: unless(error => listener.curveFailed(error)),
    failed: unless((error, retryMs) => listener.failed(error, retryMs)),
  }
}

/** A target that nobody named is opened in its turn, because there may be a thousand of them. */
function planOf({ isNamed, settings }: FleetTarget, phase: number): RoundsPlan {
  return { ...settings.plan, offsetMs: settings.plan.everyMs * phase, opensWhenDue: !isNamed }
}
