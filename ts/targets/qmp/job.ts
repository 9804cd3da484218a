/** One job of calc-dirty-rate, from its start to its figures. */

import { setTimeout as sleep } from 'node:timers/promises'
import { argumentError, DirtyRateError, hasCode } from '../../ground/errors.js'
import type { Method } from '../../measurement/source.js'
import { LONGEST_MS, SHORTEST_MS } from '../../qapi/limits.js'
import { measureModeOf } from '../../qapi/measure-mode.js'
import type { DirtyRateInfo } from '../../qapi/types.js'
import { type QmpAddress, QmpConnection } from '../../qmp/connection.js'
import { migrationOf, migrationText } from '../qemu/migration.js'
import { requireSafe, type Wanted } from '../qemu/safety.js'
import { isAtLeast, versionText } from '../qemu/version.js'
import { type Facts, readFacts } from './facts.js'

/** A job to run. */
export interface Job extends Omit<Wanted, 'mode'> {
  readonly method: Method
  readonly windowMs: number
}

/** What a job has measured. */
export interface JobResult {
  /**
   * QEMU's answer, with its time in ms and its start in seconds since the Epoch, whatever the
   * version.
   */
  readonly info: DirtyRateInfo
  readonly startedAt: Date
  readonly memoryBytes: number
}

/** How long to wait from one look at a running job to the next one. */
const LOOK_MS = 25
/**
 * How much longer than its window a job may take: page sampling looks at the pages of a large VM
 * twice.
 */
const GRACE_MS = 60_000
const MS_PER_SECOND = 1000

/**
 * Runs a job and waits for its figures. Rejects with ERR_ARGUMENT, ERR_MODE_UNAVAILABLE,
 * ERR_MEASURING, ERR_PAUSED, ERR_STATE, ERR_MIGRATING, ERR_UNSAFE_MODE, the errors of
 * `QmpConnection`, or the signal's reason. QEMU cannot be told to stop a job: it then ends by
 * itself.
 */
export async function runJob(
  address: QmpAddress,
  job: Job,
  signal: AbortSignal,
): Promise<JobResult> {
  let connection = await QmpConnection.open(address, { signal })
  try {
    const facts = await readFacts(connection, signal)
    requireSafe(facts, { ...job, mode: job.method.mode })
    const stops = watchStops(connection)
    const startedAt = new Date()
    await start(connection, facts, job, signal)
    const give = Date.now() + job.windowMs + GRACE_MS
    for (;;) {
      await sleep(LOOK_MS, undefined, { signal }).catch(() => signal.throwIfAborted())
      let info: DirtyRateInfo
      try {
        info = await look(connection, facts, signal)
      } catch (error) {
        // The job goes on without us: a monitor that only lost this client can be asked again.
        if (!hasCode(error, 'ERR_TARGET_GONE')) throw error
        connection = await reopened(address, signal, error)
        continue
      }
      if (info.status === 'measured') {
        await requireUndisturbed(connection, stops(), signal)
        return { info: checked(info, job, startedAt), startedAt, memoryBytes: facts.memoryBytes }
      }
      if (Date.now() > give) throw overdue(job)
    }
  } finally {
    connection.close()
  }
}

/** Sends calc-dirty-rate, as this version takes it. */
async function start(
  connection: QmpConnection,
  { version }: Facts,
  { method, windowMs }: Job,
  signal: AbortSignal,
): Promise<void> {
  const hasUnits = isAtLeast(version, 8, 2)
  if (windowMs < SHORTEST_MS || windowMs > LONGEST_MS) {
    throw argumentError(
      `window: QEMU measures ${SHORTEST_MS} ms to ${LONGEST_MS} ms, and not ${windowMs} ms`,
      'Give a window within these limits.',
    )
  }
  if (!hasUnits && windowMs % MS_PER_SECOND !== 0) {
    throw argumentError(
      `window: QEMU ${versionText(version)} measures whole seconds, and not ${windowMs} ms`,
      'Give 1s, 2s and so on. QEMU 8.2 and later measure milliseconds too.',
    )
  }
  const args = {
    'calc-time': hasUnits ? windowMs : windowMs / MS_PER_SECOND,
    ...(hasUnits ? { 'calc-time-unit': 'millisecond' } : {}),
    ...(method.mode === 'page-sampling' ? { 'sample-pages': method.samples.samplesPerGiB } : {}),
    mode: measureModeOf(method.mode),
  }
  try {
    await connection.execute('calc-dirty-rate', args, signal)
  } catch (error) {
    throw refusal(error, method.mode)
  }
}

/** A refusal of QEMU as an error of ours, if it is one that a caller can act on. */
function refusal(error: unknown, mode: string): unknown {
  if (!hasCode(error, 'ERR_QAPI')) return error
  const { message } = error as DirtyRateError
  if (/already being measured/.test(message)) {
    return new DirtyRateError('ERR_MEASURING', 'QEMU measures the dirty rate for another client', {
      hint: 'QEMU has one job for all of its monitors: wait until it has ended, then try again.',
      cause: error,
    })
  }
  if (/is not enabled/.test(message)) {
    return new DirtyRateError('ERR_MODE_UNAVAILABLE', `this QEMU cannot measure in mode ${mode}`, {
      hint: 'A VM with KVM and dirty rings (-accel kvm,dirty-ring-size=N) has dirty-ring, one with KVM alone has dirty-bitmap, and page-sampling is always there.',
      cause: error,
    })
  }
  return error
}

/** The state of the job, its times in ms. */
async function look(
  connection: QmpConnection,
  { version }: Facts,
  signal: AbortSignal,
): Promise<DirtyRateInfo> {
  const hasUnits = isAtLeast(version, 8, 2)
  const args = hasUnits ? { 'calc-time-unit': 'millisecond' } : {}
  const info = (await connection.execute('query-dirty-rate', args, signal)) as DirtyRateInfo
  const time = hasUnits ? info['calc-time'] : info['calc-time'] * MS_PER_SECOND
  return { ...info, 'calc-time': time, 'calc-time-unit': 'millisecond' }
}

/**
 * The answer of the job that was asked for. Throws where it is that of another one, or of one that
 * failed.
 */
function checked(info: DirtyRateInfo, { method, windowMs }: Job, startedAt: Date): DirtyRateInfo {
  const rate = info['dirty-rate']
  if (rate === undefined || rate < 0) {
    throw new DirtyRateError('ERR_STATE', 'QEMU could not measure: it gives no rate for this job', {
      hint: 'Try again. A vCPU that is plugged in within the window is one reason.',
    })
  }
  if (info.mode !== measureModeOf(method.mode) || info['calc-time'] < windowMs) {
    throw new DirtyRateError(
      'ERR_MEASURING',
      'another client of this QEMU has measured in the meantime',
      {
        hint: 'QEMU keeps only the last result of all of its clients: try again.',
      },
    )
  }
  // Old versions count the start from the start of the host.
  return { ...info, 'start-time': Math.floor(startedAt.getTime() / MS_PER_SECOND) }
}

/** Notes whether the guest is stopped from now on; the returned function says so. */
function watchStops(connection: QmpConnection): () => boolean {
  let stopped = false
  connection.onEvent(({ event }) => {
    if (event === 'STOP' || event === 'SUSPEND') stopped = true
  })
  return () => stopped
}

/**
 * Throws ERR_PAUSED, ERR_MIGRATING: the figure of such a window says nothing about the guest, or
 * counts pages twice.
 */
async function requireUndisturbed(
  connection: QmpConnection,
  stopped: boolean,
  signal: AbortSignal,
): Promise<void> {
  const migration = migrationOf(await connection.execute('query-migrate', {}, signal))
  if (migration !== undefined) {
    throw new DirtyRateError(
      'ERR_MIGRATING',
      `a migration of the VM began within the window: ${migrationText(migration)}`,
    )
  }
  if (stopped) throw new DirtyRateError('ERR_PAUSED', 'the guest was paused within the window')
}

/**
 * A new connection in the place of one that the monitor has closed. Throws `lost` where there is no
 * QEMU any more.
 */
async function reopened(
  address: QmpAddress,
  signal: AbortSignal,
  lost: unknown,
): Promise<QmpConnection> {
  try {
    return await QmpConnection.open(address, { signal })
  } catch (error) {
    throw hasCode(error, 'ERR_TARGET_ABSENT') ? lost : error
  }
}

function overdue({ windowMs }: Job): DirtyRateError {
  return new DirtyRateError(
    'ERR_TARGET_TIMEOUT',
    `QEMU still measures ${GRACE_MS / MS_PER_SECOND} s after the end of the window of ${windowMs} ms`,
  )
}
