/** KVM's statistics of a VM's vCPUs, as query-stats gives them. */

import { performance } from 'node:perf_hooks'
import { hasCode } from '../../ground/errors.js'
import { STATISTICS, type Statistics } from '../kvm-statistics.js'
import type { Use } from './monitor.js'

const REQUEST = { target: 'vcpu', providers: [{ provider: 'kvm', names: STATISTICS }] }

/** The statistics now; undefined where there are none. */
export async function readStatistics({ ask }: Use): Promise<Statistics | undefined> {
  let answer: unknown
  try {
    answer = await ask('query-stats', REQUEST)
  } catch (error) {
    if (hasCode(error, 'ERR_QAPI')) return undefined
    throw error
  }
  const vcpus = Array.isArray(answer) ? (answer as { stats?: unknown }[]) : []
  const counts = new Map<string, number>()
  for (const { stats } of vcpus) {
    for (const { name, value } of Array.isArray(stats) ? stats : []) {
      if (typeof value === 'number') counts.set(name, (counts.get(name) ?? 0) + value)
    }
  }
  return counts.size === 0 ? undefined : { atMs: performance.now(), counts }
}
