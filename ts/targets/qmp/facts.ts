/** What a QEMU says of itself and of its VM. */

import { DirtyRateError, hasCode } from '../../ground/errors.js'
import { migrationOf } from '../qemu/migration.js'
import type { Circumstances } from '../qemu/safety.js'
import type { Use } from './monitor.js'

export interface Facts extends Circumstances {
  readonly vcpus: number
  readonly memoryBytes: number
}

/** What is asked for. QEMU has all of these since 2.12. */
const QUERIES = [
  'query-kvm',
  'query-status',
  'query-cpus-fast',
  'query-memory-size-summary',
  'query-migrate',
] as const

/** Asks for the facts. Rejects as `QmpConnection.execute`. */
export async function readFacts({ ask, connection }: Use): Promise<Facts> {
  const { version } = await connection()
  const answers = QUERIES.map(query =>
    ask(query).catch(error => {
      throw hasCode(error, 'ERR_QAPI') ? noVm(query, error) : error
    }),
  )
  const [kvm, status, cpus, memory, migrate] = (await Promise.all(answers)) as Record<
    string,
    unknown
  >[]
  const migration = migrationOf(migrate)
  return {
    version,
    kvm: kvm?.enabled === true,
    state: String(status?.status),
    running: status?.running === true,
    vcpus: Array.isArray(cpus) ? cpus.length : 0,
    memoryBytes: Number(memory?.['base-memory'] ?? 0) + Number(memory?.['plugged-memory'] ?? 0),
    ...(migration === undefined ? {} : { migration }),
  }
}

/** Other programs speak QMP too: a storage daemon of QEMU, or a server of this package. */
function noVm(query: string, cause: unknown): DirtyRateError {
  return new DirtyRateError(
    'ERR_QMP_PROTOCOL',
    `this monitor does not know ${query}, so there is no VM of a QEMU behind it`,
    { cause, details: { call: query } },
  )
}
