/** What query-migrate says, in the shapes of old and new versions. */

import { isRecord } from '../../qmp/greeting.js'
import type { MigrationProgress } from '../../results/migration.js'
import { isCount, malformed } from './answers.js'

/** The states in which no migration is under way. */
const AT_REST: readonly string[] = ['none', 'cancelled', 'completed', 'failed']

/**
 * The migration that `answer` of query-migrate is about; undefined if there was none. Throws
 * ERR_QMP_PROTOCOL for what is no such answer. A figure that is no count, such as a negative one,
 * is left out.
 */
export function migrationOf(answer: unknown): MigrationProgress | undefined {
  if (!isRecord(answer)) throw malformed('query-migrate', answer)
  const { status, 'error-desc': error, ram = {}, ...info } = answer
  if (status === undefined || status === 'none') return undefined
  if (typeof status !== 'string' || !isRecord(ram)) throw malformed('query-migrate', answer)
  const figures = {
    elapsedMs: info['total-time'],
    // Newer versions have the sum of all devices beside `ram`.
    remainingBytes: ram.remaining ?? info.remaining,
    transferredBytes: ram.transferred ?? info.transferred,
    passes: ram['dirty-sync-count'],
    dirtyPagesPerSecond: ram['dirty-pages-rate'],
    pageSize: ram['page-size'],
    expectedDowntimeMs: info['expected-downtime'],
    downtimeMs: info.downtime,
  }
  const known = Object.entries(figures).filter(([, value]) => isCount(value))
  return {
    status,
    underWay: !AT_REST.includes(status),
    ...Object.fromEntries(known),
    ...(typeof error === 'string' ? { error } : {}),
  }
}

/** What is known about a migration, as a part of a sentence. */
export function migrationText(progress: MigrationProgress): string {
  const { status, passes, remainingBytes, dirtyPagesPerSecond, pageSize = 1 } = progress
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`
  const parts = [
    `its state is '${status}'`,
    ...(passes === undefined ? [] : [`pass ${passes}`]),
    ...(remainingBytes === undefined ? [] : [`${mib(remainingBytes)} left`]),
    // It is 0 in the first pass, in which nothing was counted yet.
    ...(dirtyPagesPerSecond === undefined || (passes ?? 0) < 2
      ? []
      : [`dirtied at ${mib(dirtyPagesPerSecond * pageSize)}/s at the last sync`]),
  ]
  return parts.join(', ')
}
