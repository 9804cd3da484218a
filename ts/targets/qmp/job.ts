/** The jobs of calc-dirty-rate in one QEMU, each from its start to its answer. */

import type { Signal } from '../../ground/abort.js'
import { argumentError, DirtyRateError, hasCode } from '../../ground/errors.js'
import { emit } from '../../ground/log.js'
import { abortable, pause } from '../../ground/pause.js'
import { LONGEST_MS, SHORTEST_MS } from '../../qapi/limits.js'
import { measureModeOf } from '../../qapi/measure-mode.js'
import type { DirtyRateInfo } from '../../qapi/types.js'
import type { QmpConnection, QmpEvent } from '../../qmp/connection.js'
import type { MigrationProgress } from '../../results/migration.js'
import { migrationText } from '../qemu/migration.js'
import { occupied } from '../qemu/occupied.js'
import { requireSafe } from '../qemu/safety.js'
import type { Job, JobResult, Jobs } from '../qemu/source.js'
import { observed } from '../qemu/statistics.js'
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
/**
 * How much longer than its window a job may take: page sampling looks at the pages of a large VM
 * twice.
 */
const GRACE_MS = 60_000
/** How long QEMU may say after calc-dirty-rate that nothing has started. */
const UNSTARTED_MS = 5000
const MS_PER_SECOND = 1000

/** The jobs of one target, one after the other: QEMU has one job for all of its clients. */
export class QmpJobs implements Jobs {
  readonly #of: Measured
  /** The end of the last job that was asked for. */
  #turn: Promise<unknown> = Promise.resolve()
  /** A job of ours may run in QEMU for which nobody waits any more. */
  #abandoned = false
  /** When the window of the last job ends. */
  #end = 0

  constructor(of: Measured) {
    this.#of = of
  }

  get goesOnMs(): number {
    return this.#abandoned ? Math.max(this.#end - Date.now(), 0) : 0
  }

  /**
   * Runs a job when those before it have ended, and waits for its figures. Rejects with
   * ERR_ARGUMENT, ERR_MODE_UNAVAILABLE, ERR_MEASURING, ERR_PAUSED, ERR_STATE, ERR_MIGRATING,
   * ERR_UNSAFE_MODE, the errors of `QmpConnection`, or the signal's reason. QEMU cannot be told to
   * stop a job: after an abort it ends by itself, and the next job waits for that.
   */
  run(job: Job, signal: Signal): Promise<JobResult> {
    const before = this.#turn
    const run = this.#run(before, job, signal)
    this.#turn = Promise.allSettled([before, run])
    return run
  }

  async #run(before: Promise<unknown>, job: Job, signal: Signal): Promise<JobResult> {
    await abortable(before, signal)
    const { monitor, force, emulated } = this.#of
    return monitor.use(async use => {
      const facts = await readFacts(use)
      requireSafe(facts, { force, emulated, mode: job.method.mode })
      requireWindow(facts, job)
      if (this.#abandoned) await this.#awaitAbandoned(use, facts, signal)
      const { memoryBytes } = facts
      // An emulated guest does what KVM's statistics would count outside of them.
      if (!job.observed || emulated === true || !facts.kvm)
        return { ...(await this.#measured(use, facts, job, signal)), memoryBytes }
      const { result, cost } = await observed(
        () => readStatistics(use),
        signal,
        () => this.#measured(use, facts, job, signal),
      )
      return { ...result, memoryBytes, ...(cost === undefined ? {} : { guestCost: cost }) }
    }, signal)
  }

  async #measured(
    use: Use,
    facts: Facts,
    job: Job,
    signal: Signal,
  ): Promise<Pick<JobResult, 'info' | 'startedAt'>> {
    const connection = await use.connection()
    const stops = new Stops(connection)
    try {
      const startedAt = new Date()
      this.#end = startedAt.getTime() + job.windowMs
      await this.#start(use, connection, facts, job, signal)
      const info = await finished(use, facts, job, signal).catch(error => {
        this.#abandoned = true
        if (signal.aborted) reportAbandoned(job)
        throw error
      })
      await requireRunning(use, stops.seen)
      return { info: checked(info, job, startedAt), startedAt }
    } finally {
      stops.end()
    }
  }

  /** Sends calc-dirty-rate, as this version takes it. */
  async #start(
    use: Use,
    connection: QmpConnection,
    facts: Facts,
    { method, windowMs }: Job,
    signal: Signal,
  ): Promise<void> {
    const { version } = facts
    const hasUnits = isAtLeast(version, 8, 2)
    const args = {
      'calc-time': hasUnits ? windowMs : windowMs / MS_PER_SECOND,
      ...(hasUnits ? { 'calc-time-unit': 'millisecond' } : {}),
      ...(method.mode === 'page-sampling' ? { 'sample-pages': method.samples.samplesPerGiB } : {}),
      mode: measureModeOf(method.mode),
    }
    try {
      await connection.execute('calc-dirty-rate', args, signal)
    } catch (error) {
      // Unless QEMU has refused the command, it may have it, also without an answer.
      this.#abandoned = !hasCode(error, 'ERR_QAPI')
      if (isOccupied(error)) throw occupied(WHAT, await look(use, facts), error)
      throw refusal(error, method.mode)
    }
  }

  /** Waits for the end of a job that an abort left in QEMU. */
  async #awaitAbandoned(use: Use, facts: Facts, signal: Signal): Promise<void> {
    const give = Date.now() + LONGEST_MS + GRACE_MS
    for (;;) {
      const info = await look(use, facts)
      if (info.status !== 'measuring') break
      if (Date.now() > give) throw occupied(WHAT, info)
      await pause(LOOK_MS, signal)
    }
    this.#abandoned = false
  }
}

function reportAbandoned({ windowMs }: Job): void {
  emit('info', 'dirtyrate::qmp', 'QEMU goes on measuring until the end of the window', { windowMs })
}

/** Throws ERR_ARGUMENT for a window that this QEMU cannot measure. */
function requireWindow({ version }: Facts, { windowMs }: Job): void {
  if (windowMs < SHORTEST_MS || windowMs > LONGEST_MS) {
    throw argumentError(
      `window: QEMU measures ${SHORTEST_MS} ms to ${LONGEST_MS} ms, and not ${windowMs} ms`,
      'Give a window within these limits.',
    )
  }
  if (!Number.isInteger(windowMs)) {
    throw argumentError(
      `window: QEMU measures whole milliseconds, and not ${windowMs} ms`,
      'Give a whole number of milliseconds.',
    )
  }
  if (!isAtLeast(version, 8, 2) && windowMs % MS_PER_SECOND !== 0) {
    throw argumentError(
      `window: QEMU ${versionText(version)} measures whole seconds, and not ${windowMs} ms`,
      'Give 1s, 2s and so on. QEMU 8.2 and later measure milliseconds too.',
    )
  }
}

/** What errors say that QEMU measures. */
const WHAT = 'the dirty rate'

const isOccupied = (error: unknown): boolean =>
  hasCode(error, 'ERR_QAPI') && /already being measured/.test((error as Error).message)

/** A refusal of QEMU as an error of ours, if it is one that a caller can act on. */
function refusal(error: unknown, mode: string): unknown {
  if (!hasCode(error, 'ERR_QAPI')) return error
  const { message } = error as DirtyRateError
  if (/is not enabled/.test(message)) {
    return new DirtyRateError('ERR_MODE_UNAVAILABLE', `this QEMU cannot measure in mode ${mode}`, {
      hint: 'A VM with KVM and dirty rings (-accel kvm,dirty-ring-size=N) has dirty-ring, one with KVM alone has dirty-bitmap, and page-sampling is always there.',
      cause: error,
    })
  }
  return error
}

/** The state of the job, its times in ms. */
async function look({ ask }: Use, { version }: Facts): Promise<DirtyRateInfo> {
  const hasUnits = isAtLeast(version, 8, 2)
  const args = hasUnits ? { 'calc-time-unit': 'millisecond' } : {}
  const info = (await ask('query-dirty-rate', args)) as DirtyRateInfo
  const time = hasUnits ? info['calc-time'] : info['calc-time'] * MS_PER_SECOND
  return { ...info, 'calc-time': time, 'calc-time-unit': 'millisecond' }
}

/** Waits for the end of the job that was just started. */
async function finished(
  use: Use,
  facts: Facts,
  { windowMs }: Job,
  signal: Signal,
): Promise<DirtyRateInfo> {
  const begun = Date.now()
  for (;;) {
    const left = windowMs - (Date.now() - begun)
    await pause(Math.min(Math.max(left / 2, LOOK_MS), SELDOM_MS), signal)
    // The job goes on without us, so a monitor that only lost this client can be asked again.
    const info = await look(use, facts)
    requireNoOther(facts.migration, await readMigration(use))
    if (info.status === 'measured') return info
    const waited = Date.now() - begun
    if (info.status === 'unstarted' && waited > UNSTARTED_MS) throw forgotten(use)
    if (waited > windowMs + GRACE_MS) throw overdue(windowMs)
  }
}

/**
 * The answer of the job that was asked for. Throws if the job has failed, or if the answer is about
 * the job of another client.
 */
function checked(info: DirtyRateInfo, { method, windowMs }: Job, startedAt: Date): DirtyRateInfo {
  const isOurs =
    info.mode === measureModeOf(method.mode) &&
    info['calc-time'] >= windowMs &&
    (method.mode !== 'page-sampling' || info['sample-pages'] === method.samples.samplesPerGiB)
  if (!isOurs) {
    throw new DirtyRateError(
      'ERR_MEASURING',
      'another client of this QEMU has measured in the meantime',
      { hint: 'QEMU keeps only the last result of all of its clients: try again.' },
    )
  }
  const rate = info['dirty-rate']
  if (rate === undefined || rate < 0) {
    throw new DirtyRateError('ERR_STATE', 'QEMU could not measure: it gives no rate for this job', {
      hint: 'Try again. A vCPU that is plugged in within the window is one reason.',
    })
  }
  // Old versions count the start from the start of the host.
  return { ...info, 'start-time': Math.floor(startedAt.getTime() / MS_PER_SECOND) }
}

/** Notes whether the guest is stopped. */
class Stops {
  seen = false
  readonly end: () => void

  constructor(connection: QmpConnection) {
    this.end = connection.onEvent(({ event }: QmpEvent) => {
      if (event === 'STOP' || event === 'SUSPEND') this.seen = true
    })
  }
}

/**
 * Throws ERR_MIGRATING if there is another migration than there was before. An exact mode counts
 * pages again at each sync of a migration, also of one that ends within the window.
 */
function requireNoOther(
  before: MigrationProgress | undefined,
  migration: MigrationProgress | undefined,
): void {
  if (migration === undefined || JSON.stringify(migration) === JSON.stringify(before)) return
  throw new DirtyRateError(
    'ERR_MIGRATING',
    `a migration of the VM began within the window: ${migrationText(migration)}`,
    { details: { status: migration.status } },
  )
}

/** Throws ERR_PAUSED: the figure of such a window says nothing about the guest. */
async function requireRunning({ ask }: Use, stopped: boolean): Promise<void> {
  const { running } = (await ask('query-status')) as { running?: unknown }
  if (stopped || running === false) {
    throw new DirtyRateError('ERR_PAUSED', 'the guest was paused within the window', {
      hint: 'Measure while the guest runs: a paused guest writes nothing.',
    })
  }
}

/** QEMU does not know of the job. */
function forgotten({ reconnected }: Use): DirtyRateError {
  return reconnected
    ? new DirtyRateError(
        'ERR_TARGET_GONE',
        'QEMU was started again within the window: it knows nothing of this measurement',
      )
    : new DirtyRateError('ERR_STATE', 'QEMU took the measurement and never began it', {
        hint: 'Try again.',
      })
}

function overdue(windowMs: number): DirtyRateError {
  return new DirtyRateError(
    'ERR_TARGET_TIMEOUT',
    `QEMU still measures ${GRACE_MS / MS_PER_SECOND} s after the end of the window of ${windowMs} ms`,
  )
}
