/** What query-migrate says, in the shapes of old and new versions. */

import type { MigrationProgress } from '../../results/migration.js'

/** The states in which no migration is under way. */
const AT_REST: readonly string[] = ['none', 'cancelled', 'completed', 'failed']

/** The migration that `answer` of query-migrate is about; undefined if there was none. */
export function migrationOf(answer: unknown): MigrationProgress | undefined {
  const info = recordOf(answer)
  const { status, 'error-desc': error } = info
  if (typeof status !== 'string' || status === 'none') return undefined
  const ram = recordOf(info.ram)
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
  const known = Object.entries(figures).filter(([, value]) => typeof value === 'number')
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

const recordOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
