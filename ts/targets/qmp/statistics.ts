/** KVM's statistics of a VM's vCPUs, as query-stats gives them. */

import { performance } from 'node:perf_hooks'
import type { Signal } from '../../ground/abort.js'
import { hasCode } from '../../ground/errors.js'
import type { GuestCost } from '../../results/measurement.js'
import { pause } from '../qemu/pause.js'
import { guestCost, type Span, STATISTICS, type Statistics } from '../qemu/statistics.js'
import type { Use } from './monitor.js'

/** How long the guest is observed before a window, and after it. */
const BASELINE_MS = 100

const REQUEST = { target: 'vcpu', providers: [{ provider: 'kvm', names: STATISTICS }] }

/**
 * Runs `measure` between two times in which the guest is only observed. A QEMU before 7.1, one
 * without KVM, and a KVM that counts nothing give no cost, and cost no time.
 */
export async function observed<T>(
  use: Use,
  signal: Signal,
  measure: () => Promise<T>,
): Promise<{ result: T; cost?: GuestCost }> {
  const first = await read(use)
  if (first === undefined || [...first.counts.values()].every(count => count === 0))
    return { result: await measure() }
  await pause(BASELINE_MS, signal)
  const opened = await read(use)
  const result = await measure()
  const closed = await read(use)
  await pause(BASELINE_MS, signal)
  const last = await read(use)
  if (opened === undefined || closed === undefined || last === undefined) return { result }
  const spans: [Span, Span, Span] = [
    [first, opened],
    [opened, closed],
    [closed, last],
  ]
  const cost = guestCost(...spans)
  return { result, ...(cost === undefined ? {} : { cost }) }
}

/** The statistics now; undefined where there are none. */
async function read({ ask }: Use): Promise<Statistics | undefined> {
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
