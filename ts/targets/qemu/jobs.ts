/**
 * The jobs of calc-dirty-rate in one QEMU, each from its start to its answer. How QEMU is asked is
 * the access of each kind of target.
 */

import type { Signal } from '../../ground/abort.js'
import { DirtyRateError } from '../../ground/errors.js'
import { emit } from '../../ground/log.js'
import { abortable, pause } from '../../ground/pause.js'
import type { Method } from '../../measurement/source.js'
import { LONGEST_MS } from '../../qapi/limits.js'
import type { DirtyRateInfo } from '../../qapi/types.js'
import { observed, type Statistics } from '../kvm-statistics.js'
import { occupied } from './occupied.js'
import { OwnAnswer } from './own-answer.js'
import type { Job, JobResult, Jobs } from './source.js'

/** How the QEMU of one target is asked. */
export interface JobAccess {
  /** What errors say that QEMU measures, such as `the dirty rate`. */
  readonly what: string
  /** What helps if QEMU never ends a job. */
  readonly overdueHint?: string
  /**
   * Whether KVM emulates the guest; undefined where nobody knows. An emulated guest does what KVM's
   * statistics would count outside of them.
   */
  readonly emulated: boolean | undefined
  /** Throws ERR_ARGUMENT for a window that certainly cannot be measured. */
  requirePossible?(method: Method, windowMs: number): void
  /** Runs `act` with the VM, for the time of a job. */
  use<T>(act: (vm: JobVm) => Promise<T>, signal: Signal): Promise<T>
}

/** A VM for the time of one job. */
export interface JobVm {
  /** Asks what applies now. Throws if this job cannot be measured. */
  requireMeasurable(job: Job): Promise<{ readonly memoryBytes: number; readonly kvm: boolean }>
  /** Notices from now on what disturbs a window of `windowMs`. */
  watch(windowMs: number): Promise<WindowWatch>
  /** Starts a job. Rejects with the error that the caller gets. */
  start(job: Job): Promise<void>
  /** What a failure of {@link start} says of QEMU's job. */
  whyNotStarted(error: unknown): NotStarted
  /** The state of the job, its times in ms; undefined if the domain is busy and does not say. */
  look(): Promise<DirtyRateInfo | undefined>
  /** How long to wait until the next look, if the window ends in `leftMs`. */
  lookAfterMs(leftMs: number): number
  /** The error if QEMU does not know of a job that it took. */
  forgotten(): DirtyRateError
  /** KVM's statistics of the vCPUs now; undefined where there are none. */
  statistics(): Promise<Statistics | undefined>
}

/** `occupied`: another job runs. `refused`: none was begun. `unknown`: QEMU may have begun it. */
export type NotStarted = 'occupied' | 'refused' | 'unknown'

/** What disturbs a window. */
export interface WindowWatch {
  /** Throws if the window was disturbed by something that is still going on. */
  check?(job: Job): Promise<void>
  /** Throws if the window, which has ended, was disturbed, such as by a pause. */
  requireUndisturbed(job: Job): Promise<void>
  end(): void
}

/** How long QEMU is asked for a job that an abort left, from one look to the next. */
const ABANDONED_LOOK_MS = 25
/**
 * How much longer than its window a job may take: page sampling looks at the pages of a large VM
 * twice.
 */
export const GRACE_MS: number = 60_000
/** How long QEMU may say after calc-dirty-rate that nothing has started. */
const UNSTARTED_MS = 5000
const MS_PER_SECOND = 1000

/** The jobs of one target, one after the other: QEMU has one job for all of its clients. */
export class QemuJobs implements Jobs {
  readonly #access: JobAccess
  /** The end of the last job that was asked for. */
  #turn: Promise<unknown> = Promise.resolve()
  /** A job of ours may run in QEMU for which nobody waits any more. */
  #abandoned = false
  /** When the window of the last job ends. */
  #end = 0

  constructor(access: JobAccess) {
    this.#access = access
  }

  get goesOnMs(): number {
    return this.#abandoned ? Math.max(this.#end - Date.now(), 0) : 0
  }

  requirePossible(method: Method, windowMs: number): void {
    this.#access.requirePossible?.(method, windowMs)
  }

  /**
   * Runs a job when those before it have ended, and waits for its figures. Rejects with
   * ERR_ARGUMENT, ERR_MODE_UNAVAILABLE, ERR_MEASURING, ERR_PAUSED, ERR_STATE, ERR_MIGRATING,
   * ERR_UNSAFE_MODE, the errors of the access, or the signal's reason. QEMU cannot be told to stop
   * a job: after an abort it ends by itself, and the next job waits for that.
   */
  run(job: Job, signal: Signal): Promise<JobResult> {
    const before = this.#turn
    const run = this.#run(before, job, signal)
    this.#turn = Promise.allSettled([before, run])
    return run
  }

  async #run(before: Promise<unknown>, job: Job, signal: Signal): Promise<JobResult> {
    await abortable(before, signal)
    return this.#access.use(async vm => {
      const { memoryBytes, kvm } = await vm.requireMeasurable(job)
      if (this.#abandoned) await this.#awaitAbandoned(vm, signal)
      if (this.#access.emulated === true || !kvm)
        return { ...(await this.#measured(vm, job, signal)), memoryBytes }
      const { result, spans } = await observed(
        () => vm.statistics(),
        signal,
        () => this.#measured(vm, job, signal),
        job.baseline,
      )
      return { ...result, memoryBytes, ...(spans === undefined ? {} : { spans }) }
    }, signal)
  }

  async #measured(
    vm: JobVm,
    job: Job,
    signal: Signal,
  ): Promise<Pick<JobResult, 'info' | 'startedAt'>> {
    const watch = await vm.watch(job.windowMs)
    try {
      const startedAt = new Date()
      this.#end = startedAt.getTime() + job.windowMs
      const own = new OwnAnswer(job)
      await this.#start(vm, job)
      const info = await this.#finished(vm, watch, job, own, signal).catch(error => {
        this.#abandoned = true
        if (signal.aborted) reportAbandoned(job)
        throw error
      })
      await watch.requireUndisturbed(job)
      return { info: this.#checked(info, startedAt), startedAt }
    } finally {
      watch.end()
    }
  }

  async #start(vm: JobVm, job: Job): Promise<void> {
    try {
      await vm.start(job)
    } catch (error) {
      const why = vm.whyNotStarted(error)
      this.#abandoned = why === 'unknown'
      throw why === 'occupied' ? occupied(this.#access.what, await vm.look(), error) : error
    }
  }

  /**
   * Waits for the end of the job that was just started. Throws ERR_MEASURING if QEMU speaks of the
   * job of another client.
   */
  async #finished(
    vm: JobVm,
    watch: WindowWatch,
    job: Job,
    own: OwnAnswer,
    signal: Signal,
  ): Promise<DirtyRateInfo> {
    const { windowMs } = job
    const begun = Date.now()
    for (;;) {
      await pause(vm.lookAfterMs(windowMs - (Date.now() - begun)), signal)
      const info = await vm.look()
      if (info !== undefined && !own.mayBe(info)) throw this.#another()
      await watch.check?.(job)
      if (info?.status === 'measured') return info
      const waited = Date.now() - begun
      if (info?.status === 'unstarted' && waited > UNSTARTED_MS) throw vm.forgotten()
      if (waited > windowMs + GRACE_MS) throw this.#overdue(windowMs)
    }
  }

  /** Waits for the end of a job that an abort left in QEMU. */
  async #awaitAbandoned(vm: JobVm, signal: Signal): Promise<void> {
    const give = Date.now() + LONGEST_MS + GRACE_MS
    for (;;) {
      const info = await vm.look()
      if (info?.status !== 'measuring') break
      if (Date.now() > give) throw occupied(this.#access.what, info)
      await pause(Math.max(vm.lookAfterMs(0), ABANDONED_LOOK_MS), signal)
    }
    this.#abandoned = false
  }

  /** The answer of the job that was asked for. Throws if the job has failed. */
  #checked(info: DirtyRateInfo, startedAt: Date): DirtyRateInfo {
    const { what } = this.#access
    const rate = info['dirty-rate']
    if (rate === undefined || rate < 0) {
      throw new DirtyRateError('ERR_STATE', `QEMU could not measure ${what}: it gives no figure`, {
        hint: 'Try again. A vCPU that is plugged in within the window is one reason.',
      })
    }
    // Old versions count the start from the start of the host.
    return { ...info, 'start-time': Math.floor(startedAt.getTime() / MS_PER_SECOND) }
  }

  #another(): DirtyRateError {
    return new DirtyRateError(
      'ERR_MEASURING',
      `another client of QEMU has measured ${this.#access.what} in the meantime`,
      { hint: 'QEMU keeps only the last result of all of its clients: try again.' },
    )
  }

  #overdue(windowMs: number): DirtyRateError {
    const { what, overdueHint } = this.#access
    return new DirtyRateError(
      'ERR_TARGET_TIMEOUT',
      `QEMU still measures ${what} ${GRACE_MS / MS_PER_SECOND} s after the end of the window of ${windowMs} ms`,
      overdueHint === undefined ? {} : { hint: overdueHint },
    )
  }
}

function reportAbandoned({ windowMs }: Job): void {
  const text = 'QEMU goes on measuring until the end of the window'
  emit('info', 'dirtyrate::qemu', text, { windowMs })
}
