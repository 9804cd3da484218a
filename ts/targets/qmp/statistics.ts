/** KVM's statistics of a VM's vCPUs, as query-stats gives them. */

import { performance } from 'node:perf_hooks'
import { hasCode } from '../../ground/errors.js'
import { isRecord } from '../../qmp/greeting.js'
import { STATISTICS, type Statistics } from '../kvm-statistics.js'
import { isCount, malformed } from '../qemu/answers.js'
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
  const counts = countsIn(answer)
  return counts.size === 0 ? undefined : { atMs: performance.now(), counts }
}

/** The sums over the vCPUs. Throws ERR_QMP_PROTOCOL for what is no answer to query-stats. */
function countsIn(answer: unknown): Map<string, number> {
  const counts = new Map<string, number>()
  const seen = new Set<unknown>()
  const vcpus = Array.isArray(answer) ? answer : [undefined]
  for (const vcpu of vcpus) {
    const stats = isRecord(vcpu) ? vcpu.stats : undefined
    const path = isRecord(vcpu) ? vcpu['qom-path'] : undefined
    // A vCPU that is there twice would be counted twice.
    if (!Array.isArray(stats) || (path !== undefined && seen.has(path)))
      throw malformed('query-stats', answer)
    seen.add(path)
    for (const statistic of stats) {
      if (!isRecord(statistic) || typeof statistic.name !== 'string')
        throw malformed('query-stats', answer)
      const { name, value } = statistic
      // Histograms are lists, and switches are booleans.
      if (!STATISTICS.includes(name) || typeof value !== 'number') continue
      if (!isCount(value)) throw malformed('query-stats', answer)
      counts.set(name, (counts.get(name) ?? 0) + value)
    }
  }
  return counts
}
