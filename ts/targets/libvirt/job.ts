/** The measurements of one domain, each from its start to its answer. */

import type { Signal } from '../../ground/abort.js'
import { DirtyRateError, hasCode } from '../../ground/errors.js'
import { abortable, pause } from '../../ground/pause.js'
import type { Method } from '../../measurement/source.js'
import { measureModeOf } from '../../qapi/measure-mode.js'
import type { DirtyRateInfo } from '../../qapi/types.js'
import type { Mode } from '../../results/mode.js'
import { occupied } from '../qemu/occupied.js'
import { requireSafe } from '../qemu/safety.js'
import type { Job, JobResult, Jobs } from '../qemu/source.js'
import { observed } from '../qemu/statistics.js'
import type { LibvirtConnection } from './connection.js'
import { type DomainFacts, type Identity, readFacts, readStatistics } from './domain.js'
import { listenForPauses } from './pauses.js'
import type { Way } from './way.js'

/** A domain to measure. */
export interface Measured {
  readonly connection: LibvirtConnection
  readonly identity: Identity
  readonly way: Way
  readonly force: boolean
  /** Whether KVM emulates the guests of the domain's host; undefined where nobody knows. */
  readonly emulated: boolean | undefined
}

const MS_PER_SECOND = 1000
/** How long to wait from one look at a running job to the next one. */
const LOOK_MS = 200
/** How much longer than its window a job may take. */
const GRACE_MS = 60_000

/** The jobs of one target, which run one after the other, because QEMU has one at a time. */
export class LibvirtJobs implements Jobs {
  readonly #of: Measured
  /** The end of the last job that was asked for. */
  #turn: Promise<unknown> = Promise.resolve()
  /** When a job of ours ends in QEMU for which nobody waits any more. */
  #abandonedUntil = 0
  /** When the window of the last job ends. */
  #end = 0

  constructor(of: Measured) {
    this.#of = of
  }

  get goesOnMs(): number {
    return this.#abandonedUntil === 0 ? 0 : Math.max(this.#end - Date.now(), 0)
  }

  requirePossible(method: Method, windowMs: number): void {
    this.#of.way.requirePossible(method, windowMs)
  }

  /**
   * Measures one window when the jobs before it have ended. Rejects with ERR_MODE_UNAVAILABLE,
   * ERR_MEASURING, ERR_PAUSED, ERR_STATE, ERR_MIGRATING, ERR_UNSAFE_MODE, the errors of
   * `LibvirtConnection`, or the signal's reason. Nobody can stop a job of QEMU: after an abort it
   * ends by itself, and the next job waits for that.
   */
  run(job: Job, signal: Signal): Promise<JobResult> {
    const before = this.#turn
    const run = abortable(before, signal).then(() => this.#run(job, signal))
    this.#turn = Promise.allSettled([before, run])
    return run
  }

  async #run(job: Job, signal: Signal): Promise<JobResult> {
    const { connection, identity, emulated } = this.#of
    const { mode } = job.method
    // A measurement that waits for a job of libvirt would hang, so the domain is looked at first.
    const { memoryBytes, kvm } = await requireMeasurable(this.#of, mode, signal)
    await this.#awaitAbandoned(signal)
    // An emulated guest does what KVM's statistics would count outside of them.
    if (!job.observed || emulated === true || !kvm)
      return { ...(await this.#measured(job, signal)), memoryBytes }
    const { result, cost } = await observed(
      () => readStatistics(connection, identity, signal),
      signal,
      () => this.#measured(job, signal),
    )
    return { ...result, memoryBytes, ...(cost === undefined ? {} : { guestCost: cost }) }
  }

  async #measured(job: Job, signal: Signal): Promise<Pick<JobResult, 'info' | 'startedAt'>> {
    const { connection, identity } = this.#of
    const pauses = listenForPauses(connection, identity, job.windowMs + GRACE_MS)
    try {
      const measured = await this.#answered(job, signal)
      if (await pauses.ended()) throw pausedWithin(identity)
      return measured
    } finally {
      // A measurement that has failed does not wait for the end of the events.
      void pauses.ended()
    }
  }

  async #answered(
    { method, windowMs }: Job,
    signal: Signal,
  ): Promise<Pick<JobResult, 'info' | 'startedAt'>> {
    const { identity, way } = this.#of
    const startedAt = new Date()
    const end = startedAt.getTime() + windowMs
    this.#end = end
    await way.start(method, windowMs, signal).catch(async error => {
      // libvirt may have passed the command on before the call was ended.
      if (signal.aborted) this.#abandonedUntil = end + GRACE_MS
      if (!hasCode(error, 'ERR_MEASURING')) throw error
      throw occupied(`the dirty rate of '${identity.name}'`, await way.look(signal), error)
    })
    try {
      await pause(windowMs, signal)
      for (;;) {
        const info = await way.look(signal)
        if (info?.status === 'measured') {
          requireOurs(info, identity, method, windowMs)
          // A figure of a window in which the guest stood still says nothing about the guest.
          await requireMeasurable(this.#of, method.mode, signal)
          return { info, startedAt }
        }
        if (Date.now() > end + GRACE_MS) throw overdue(identity, windowMs)
        await pause(LOOK_MS, signal)
      }
    } catch (error) {
      this.#abandonedUntil = end + GRACE_MS
      throw error
    }
  }

  /** Waits until QEMU has ended a job of ours that nobody waits for any more. */
  async #awaitAbandoned(signal: Signal): Promise<void> {
    while (Date.now() < this.#abandonedUntil) {
      if ((await this.#of.way.look(signal))?.status !== 'measuring') break
      await pause(LOOK_MS, signal)
    }
    this.#abandonedUntil = 0
  }
}

async function requireMeasurable(
  { connection, identity, force, emulated }: Measured,
  mode: Mode,
  signal: Signal,
): Promise<DomainFacts> {
  const facts = await readFacts(connection, identity, signal)
  const { running, state, migration } = facts
  if (!running && migration === undefined) throw notRunning(identity, state)
  requireSafe(facts, { mode, force, emulated })
  return facts
}

/** The figure of such a window says nothing about the guest. */
function pausedWithin({ name }: Identity): DirtyRateError {
  return new DirtyRateError('ERR_PAUSED', `the domain '${name}' was paused within the window`, {
    hint: 'Measure while the guest runs: a paused guest writes nothing.',
  })
}

function notRunning({ name }: Identity, state: string): DirtyRateError {
  const isPaused = state === 'paused' || state === 'suspended by its guest'
  return new DirtyRateError(
    isPaused ? 'ERR_PAUSED' : 'ERR_STATE',
    `the domain '${name}' does not run: it is ${state}`,
    {
      hint: isPaused
        ? 'Let it go on (virsh resume), then measure: a paused guest writes nothing.'
        : 'Start it (virsh start), then measure.',
    },
  )
}

/** Throws if the job has failed, or if the answer is about the job of another client. */
function requireOurs(
  info: DirtyRateInfo,
  { name }: Identity,
  { mode }: Method,
  windowMs: number,
): void {
  const rate = info['dirty-rate']
  if (rate === undefined || rate < 0) {
    throw new DirtyRateError('ERR_STATE', `QEMU could not measure the domain '${name}'`, {
      hint: 'Try again. A vCPU that is plugged in within the window is one reason.',
    })
  }
  if (info.mode === measureModeOf(mode) && info['calc-time'] >= windowMs) return
  throw new DirtyRateError('ERR_MEASURING', `another client has measured '${name}' meanwhile`, {
    hint: 'QEMU keeps only the last result of all of its clients: try again.',
  })
}

function overdue({ name }: Identity, windowMs: number): DirtyRateError {
  return new DirtyRateError(
    'ERR_TARGET_TIMEOUT',
    `the domain '${name}' is still measured ${GRACE_MS / MS_PER_SECOND} s after the end of the window of ${windowMs} ms`,
    { hint: 'A busy domain gives no answer: virsh domjobinfo says with what. Try again.' },
  )
}
