/** What a QEMU says of itself and of its VM. */

import { DirtyRateError, hasCode } from '../../ground/errors.js'
import type { QapiError } from '../../qapi/error.js'
import type { MigrationProgress } from '../../results/migration.js'
import { kvmIn, memoryBytesIn, runStateIn, vcpusInAnswer } from '../qemu/answers.js'
import { migrationOf } from '../qemu/migration.js'
import type { Circumstances } from '../qemu/safety.js'
import type { Use } from './monitor.js'

export interface Facts extends Circumstances {
  /** Absent for a monitor that does not know the command. */
  readonly vcpus?: number
  readonly memoryBytes: number
}

/** What is asked for. QEMU has all of these since 2.12. */
const QUERIES = [
  'query-kvm',
  'query-status',
  'query-memory-size-summary',
  'query-cpus-fast',
  'query-migrate',
] as const
/** What other servers of QMP, such as `dirtyrate qmp`, need not have. */
const OPTIONAL: readonly string[] = ['query-cpus-fast', 'query-migrate']

/** The migration of the VM, if there is one. Rejects as `QmpConnection.execute`. */
export async function readMigration({ ask }: Use): Promise<MigrationProgress | undefined> {
  return migrationOf(
    await ask('query-migrate').catch(error => {
      // A server without the command migrates nothing.
      if (hasCode(error, 'ERR_QAPI')) return {}
      throw error
    }),
  )
}

/** Asks for the facts. Rejects as `QmpConnection.execute`. */
export async function readFacts({ ask, connection }: Use): Promise<Facts> {
  const { version } = await connection()
  const answers = QUERIES.map(query =>
    ask(query).catch(error => {
      if (!hasCode(error, 'ERR_QAPI')) throw error
      if (OPTIONAL.includes(query)) return undefined
      throw refused(query, error as QapiError)
    }),
  )
  const [kvm, status, memory, cpus, migrate] = await Promise.all(answers)
  const migration = migrate === undefined ? undefined : migrationOf(migrate)
  const { status: state, running } = runStateIn(status)
  return {
    version,
    kvm: kvmIn(kvm),
    state,
    running,
    ...(cpus === undefined ? {} : { vcpus: vcpusInAnswer(cpus) }),
    memoryBytes: memoryBytesIn(memory),
    ...(migration === undefined ? {} : { migration }),
  }
}

/** Other programs speak QMP too: a storage daemon of QEMU, or a server of this package. */
function refused(query: string, cause: QapiError): DirtyRateError {
  const why =
    cause.class === 'CommandNotFound'
      ? `this monitor does not know ${query}, so there is no VM of a QEMU behind it`
      : `this monitor refuses ${query}: ${cause.message}`
  return new DirtyRateError('ERR_QMP_PROTOCOL', why, { cause, details: { call: query } })
}
