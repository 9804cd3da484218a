/** How the QEMU of a domain is asked for a job of calc-dirty-rate, through libvirt. */

import type { Signal } from '../../ground/abort.js'
import { DirtyRateError, hasCode } from '../../ground/errors.js'
import type { Method } from '../../measurement/source.js'
import type { DirtyRateInfo } from '../../qapi/types.js'
import type { Statistics } from '../kvm-statistics.js'
import {
  GRACE_MS,
  type JobAccess,
  type JobVm,
  type NotStarted,
  type WindowWatch,
} from '../qemu/jobs.js'
import { requireSafe } from '../qemu/safety.js'
import type { Job } from '../qemu/source.js'
import { isWithoutDomain, type LibvirtConnection } from './connection.js'
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

/** How long to wait from one look at a job whose window has ended to the next one. */
const LOOK_MS = 200

export class LibvirtAccess implements JobAccess {
  readonly overdueHint =
    'A busy domain gives no answer: virsh domjobinfo says with what. Try again.'
  readonly #of: Measured

  constructor(of: Measured) {
    this.#of = of
  }

  get what(): string {
    return `the dirty rate of '${this.#of.identity.name}'`
  }

  get emulated(): boolean | undefined {
    return this.#of.emulated
  }

  requirePossible(method: Method, windowMs: number): void {
    this.#of.way.requirePossible(method, windowMs)
  }

  use<T>(act: (vm: JobVm) => Promise<T>, signal: Signal): Promise<T> {
    return act(new LibvirtVm(this.#of, signal))
  }
}

class LibvirtVm implements JobVm {
  readonly #of: Measured
  readonly #signal: Signal

  constructor(of: Measured, signal: Signal) {
    this.#of = of
    this.#signal = signal
  }

  /** A measurement that waits for a job of libvirt would hang, so the domain is looked at first. */
  async requireMeasurable({ method: { mode } }: Job): Promise<DomainFacts> {
    const { connection, identity, force, emulated } = this.#of
    const facts = await readFacts(connection, identity, this.#signal)
    const { running, state, migration } = facts
    if (!running && migration === undefined) throw notRunning(identity, state)
    requireSafe(facts, { mode, force, emulated })
    return facts
  }

  async watch(windowMs: number): Promise<WindowWatch> {
    const { connection, identity } = this.#of
    const pauses = listenForPauses(connection, identity, windowMs + GRACE_MS)
    return {
      requireUndisturbed: async job => {
        // A figure of a window in which the guest stood still says nothing about the guest.
        await this.#ended(this.requireMeasurable(job))
        if (await pauses.ended()) throw pausedWithin(identity)
      },
      // A measurement that has failed does not wait for the end of the events.
      end: () => void pauses.ended(),
    }
  }

  start({ method, windowMs }: Job): Promise<void> {
    return this.#of.way.start(method, windowMs, this.#signal)
  }

  whyNotStarted(error: unknown): NotStarted {
    if (hasCode(error, 'ERR_MEASURING')) return 'occupied'
    // libvirt may have passed the command on before the call was ended.
    return this.#signal.aborted || hasCode(error, 'ERR_TARGET_TIMEOUT') ? 'unknown' : 'refused'
  }

  look(): Promise<DirtyRateInfo | undefined> {
    return this.#ended(this.#of.way.look(this.#signal))
  }

  /** A domain that libvirt had when the window began has ended if libvirt has it no more. */
  async #ended<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } catch (error) {
      throw isWithoutDomain(error) ? endedWithin(this.#of.identity, error) : error
    }
  }

  lookAfterMs(leftMs: number): number {
    return leftMs > 0 ? leftMs : LOOK_MS
  }

  forgotten(): DirtyRateError {
    const { name } = this.#of.identity
    return new DirtyRateError(
      'ERR_STATE',
      `the QEMU of the domain '${name}' knows nothing of this measurement`,
      { hint: 'Try again. A domain that was started again within the window is one reason.' },
    )
  }

  statistics(): Promise<Statistics | undefined> {
    const { connection, identity } = this.#of
    return readStatistics(connection, identity, this.#signal)
  }
}

function endedWithin({ name }: Identity, cause: unknown): DirtyRateError {
  return new DirtyRateError('ERR_TARGET_GONE', `the domain '${name}' has ended within the window`, {
    hint: 'Measure it while it runs. virsh list --all names the domains that there are.',
    cause,
  })
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
