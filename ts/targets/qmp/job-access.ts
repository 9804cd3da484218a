/** How the QEMU behind a monitor is asked for a job of calc-dirty-rate. */

import type { Signal } from '../../ground/abort.js'
import { argumentError, DirtyRateError, hasCode } from '../../ground/errors.js'
import type { DirtyRateInfo } from '../../qapi/types.js'
import type { QmpConnection, QmpEvent } from '../../qmp/connection.js'
import type { Statistics } from '../kvm-statistics.js'
import { dirtyRateInfoIn, runStateIn } from '../qemu/answers.js'
import { calcArguments, MILLISECONDS, requireWindow } from '../qemu/calc-arguments.js'
import type { JobAccess, JobVm, NotStarted, WindowWatch } from '../qemu/jobs.js'
import { migrating, requireSafe } from '../qemu/safety.js'
import type { Job } from '../qemu/source.js'
import { isAtLeast, versionText } from '../qemu/version.js'
import { type Facts, readFacts, readMigration } from './facts.js'
import type { Monitor, Use } from './monitor.js'
import { readStatistics } from './statistics.js'

/** A VM to measure. */
export interface Measured {
  readonly monitor: Monitor
  readonly force: boolean
  /** Whether KVM emulates the guests of the VM's host; undefined where nobody knows. */
  readonly emulated: boolean | undefined
}

/**
 * How long to wait from one look at a running job to the next one. QEMU answers in the thread that
 * also serves the guest's devices, so it is asked seldom while the end of the window is far.
 */
const LOOK_MS = 25
const SELDOM_MS = 250
const MS_PER_SECOND = 1000

export class QmpAccess implements JobAccess {
  readonly what = 'the dirty rate'
  readonly #of: Measured

  constructor(of: Measured) {
    this.#of = of
  }

  get emulated(): boolean | undefined {
    return this.#of.emulated
  }

  use<T>(act: (vm: JobVm) => Promise<T>, signal: Signal): Promise<T> {
    return this.#of.monitor.use(
      async use => act(new QmpVm(this.#of, use, await readFacts(use), signal)),
      signal,
    )
  }
}

class QmpVm implements JobVm {
  readonly #of: Measured
  readonly #use: Use
  readonly #facts: Facts
  readonly #signal: Signal

  constructor(of: Measured, use: Use, facts: Facts, signal: Signal) {
    this.#of = of
    this.#use = use
    this.#facts = facts
    this.#signal = signal
  }

  async requireMeasurable(job: Job): Promise<Facts> {
    const { force, emulated } = this.#of
    requireSafe(this.#facts, { force, emulated, mode: job.method.mode })
    requireWindow(job.windowMs)
    this.#requireUnit(job.windowMs)
    return this.#facts
  }

  async watch(): Promise<WindowWatch> {
    return new QmpWindow(this.#use, await this.#use.connection(), this.#facts)
  }

  /** Sends calc-dirty-rate, as this version takes it. */
  async start({ method, windowMs }: Job): Promise<void> {
    const args = calcArguments(method, windowMs, this.#hasUnits)
    const connection = await this.#use.connection()
    await connection.execute('calc-dirty-rate', args, this.#signal).catch(error => {
      throw refusal(error, method.mode)
    })
  }

  whyNotStarted(error: unknown): NotStarted {
    if (hasCode(error, 'ERR_MODE_UNAVAILABLE')) return 'refused'
    // Unless QEMU has refused the command, it may have it, also without an answer.
    if (!hasCode(error, 'ERR_QAPI')) return 'unknown'
    return /already being measured/.test((error as Error).message) ? 'occupied' : 'refused'
  }

  async look(): Promise<DirtyRateInfo> {
    const args = this.#hasUnits ? MILLISECONDS : {}
    // The job goes on without us, so a monitor that only lost this client can be asked again.
    const info = dirtyRateInfoIn(await this.#use.ask('query-dirty-rate', args))
    const time = this.#hasUnits ? info['calc-time'] : info['calc-time'] * MS_PER_SECOND
    return { ...info, 'calc-time': time, ...MILLISECONDS }
  }

  lookAfterMs(leftMs: number): number {
    return Math.min(Math.max(leftMs / 2, LOOK_MS), SELDOM_MS)
  }

  forgotten(): DirtyRateError {
    return this.#use.reconnected
      ? new DirtyRateError(
          'ERR_TARGET_GONE',
          'QEMU was started again within the window: it knows nothing of this measurement',
        )
      : new DirtyRateError('ERR_STATE', 'QEMU took the measurement and never began it', {
          hint: 'Try again.',
        })
  }

  statistics(): Promise<Statistics | undefined> {
    return readStatistics(this.#use)
  }

  /** Throws ERR_ARGUMENT for a window in a unit that this QEMU does not have. */
  #requireUnit(windowMs: number): void {
    if (this.#hasUnits || windowMs % MS_PER_SECOND === 0) return
    throw argumentError(
      `window: QEMU ${versionText(this.#facts.version)} measures whole seconds, and not ${windowMs} ms`,
      'Give 1s, 2s and so on. QEMU 8.2 and later measure milliseconds too.',
    )
  }

  get #hasUnits(): boolean {
    return isAtLeast(this.#facts.version, 8, 2)
  }
}

/** Notices that the guest is stopped, and that a migration begins. */
class QmpWindow implements WindowWatch {
  readonly #use: Use
  readonly #facts: Facts
  readonly end: () => void
  #stopped = false

  constructor(use: Use, connection: QmpConnection, facts: Facts) {
    this.#use = use
    this.#facts = facts
    this.end = connection.onEvent(({ event }: QmpEvent) => {
      if (event === 'STOP' || event === 'SUSPEND') this.#stopped = true
    })
  }

  /** Throws ERR_MIGRATING if there is another migration than there was before. */
  async check({ method }: Job): Promise<void> {
    const migration = await readMigration(this.#use)
    const before = this.#facts.migration
    if (migration === undefined || JSON.stringify(migration) === JSON.stringify(before)) return
    throw migrating('a migration of the VM began within the window', migration, method.mode)
  }

  /** Throws ERR_PAUSED: the figure of such a window says nothing about the guest. */
  async requireUndisturbed(): Promise<void> {
    const { running } = runStateIn(await this.#use.ask('query-status'))
    if (this.#stopped || !running) {
      throw new DirtyRateError('ERR_PAUSED', 'the guest was paused within the window', {
        hint: 'Measure while the guest runs: a paused guest writes nothing.',
      })
    }
  }
}

/** A refusal of QEMU as an error of ours, if it is one that a caller can act on. */
function refusal(error: unknown, mode: string): unknown {
  if (!hasCode(error, 'ERR_QAPI')) return error
  if (/is not enabled/.test((error as DirtyRateError).message)) {
    return new DirtyRateError('ERR_MODE_UNAVAILABLE', `this QEMU cannot measure in mode ${mode}`, {
      hint: 'A VM with KVM and dirty rings (-accel kvm,dirty-ring-size=N) has dirty-ring, one with KVM alone has dirty-bitmap, and page-sampling is always there.',
      cause: error,
    })
  }
  return error
}
