/** What a QEMU says of itself and of its VM. */

import type { QmpConnection } from '../../qmp/connection.js'
import { migrationOf } from '../qemu/migration.js'
import type { Circumstances } from '../qemu/safety.js'

export interface Facts extends Circumstances {
  readonly vcpus: number
  readonly memoryBytes: number
}

/** Asks for the facts. Rejects as `QmpConnection.execute`. */
export async function readFacts(connection: QmpConnection, signal?: AbortSignal): Promise<Facts> {
  const ask = (command: string): Promise<Record<string, unknown>> =>
    connection.execute(command, {}, signal) as Promise<Record<string, unknown>>
  const [kvm, status, cpus, memory, migrate] = await Promise.all([
    ask('query-kvm'),
    ask('query-status'),
    ask('query-cpus-fast'),
    ask('query-memory-size-summary'),
    ask('query-migrate'),
  ])
  const migration = migrationOf(migrate)
  return {
    version: connection.version,
    kvm: kvm.enabled === true,
    state: String(status.status),
    running: status.running === true,
    vcpus: Array.isArray(cpus) ? cpus.length : 0,
    memoryBytes: Number(memory['base-memory'] ?? 0) + Number(memory['plugged-memory'] ?? 0),
    ...(migration === undefined ? {} : { migration }),
  }
}
