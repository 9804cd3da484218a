/** What a QEMU says of itself and of its VM. */

import { migrationOf } from '../qemu/migration.js'
import type { Circumstances } from '../qemu/safety.js'
import type { Use } from './monitor.js'

export interface Facts extends Circumstances {
  readonly vcpus: number
  readonly memoryBytes: number
}

/** Asks for the facts. Rejects as `QmpConnection.execute`. */
export async function readFacts({ ask, connection }: Use): Promise<Facts> {
  const { version } = await connection()
  const [kvm, status, cpus, memory, migrate] = (await Promise.all([
    ask('query-kvm'),
    ask('query-status'),
    ask('query-cpus-fast'),
    ask('query-memory-size-summary'),
    ask('query-migrate'),
  ])) as Record<string, unknown>[]
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
