/**
 * Checks that the answers to queries have the form that QEMU's schema gives them. Another program
 * may listen at a monitor, and a figure that is none must not reach a result.
 */

import { shortened } from '../../ground/arguments.js'
import { DirtyRateError } from '../../ground/errors.js'
import type { DirtyRateInfo } from '../../qapi/types.js'
import { isRecord } from '../../qmp/greeting.js'

/** The most MiB/s, and the longest window in ms, whose bytes and nanoseconds are exact numbers. */
const MOST_MIB = Number.MAX_SAFE_INTEGER / 2 ** 20
const LONGEST_MS = Number.MAX_SAFE_INTEGER / 1e6

/** The answer to query-dirty-rate. Throws ERR_QMP_PROTOCOL. */
export function dirtyRateInfoIn(answer: unknown): DirtyRateInfo {
  if (!isDirtyRateInfo(answer)) throw malformed('query-dirty-rate', answer)
  return answer as unknown as DirtyRateInfo
}

/**
 * Whether an answer has the form of QEMU's `DirtyRateInfo`. Old versions leave fields out, but a
 * job has always had a time, and a rate that could not be measured is negative.
 */
export function isDirtyRateInfo(answer: unknown): boolean {
  if (!isRecord(answer)) return false
  const { status, mode } = answer
  const rate = answer['dirty-rate'] ?? 0
  const hasTime = status === 'unstarted' || answer['calc-time'] !== undefined
  return (
    ['unstarted', 'measuring', 'measured'].includes(String(status)) &&
    Number.isSafeInteger(rate) &&
    Number(rate) <= MOST_MIB &&
    ['start-time', 'calc-time', 'sample-pages'].every(key => isCount(answer[key] ?? 0)) &&
    hasTime &&
    Number(answer['calc-time'] ?? 0) <= LONGEST_MS &&
    (mode === undefined || typeof mode === 'string') &&
    isVcpus(answer['vcpu-dirty-rate'] ?? [])
  )
}

/** The answer to query-status. Throws ERR_QMP_PROTOCOL. */
export function runStateIn(answer: unknown): { status: string; running: boolean } {
  if (!isRecord(answer)) throw malformed('query-status', answer)
  const { status, running } = answer
  if (typeof status !== 'string' || typeof running !== 'boolean')
    throw malformed('query-status', answer)
  return { status, running }
}

/** Whether KVM runs the guest, by the answer to query-kvm. Throws ERR_QMP_PROTOCOL. */
export function kvmIn(answer: unknown): boolean {
  if (!isRecord(answer) || typeof answer.enabled !== 'boolean') throw malformed('query-kvm', answer)
  return answer.enabled
}

/** The bytes of the answer to query-memory-size-summary. Throws ERR_QMP_PROTOCOL. */
export function memoryBytesIn(answer: unknown): number {
  const sizes = isRecord(answer) ? [answer['base-memory'], answer['plugged-memory'] ?? 0] : []
  const bytes = sizes.reduce((sum: number, size) => sum + Number(size), 0)
  // A VM without memory does not run.
  if (!sizes.every(isCount) || !Number.isSafeInteger(bytes) || bytes === 0)
    throw malformed('query-memory-size-summary', answer)
  return bytes
}

/** How many vCPUs the answer to query-cpus-fast names. Throws ERR_QMP_PROTOCOL. */
export function vcpusInAnswer(answer: unknown): number {
  const indices = Array.isArray(answer)
    ? answer.map(vcpu => (isRecord(vcpu) ? vcpu['cpu-index'] : undefined))
    : []
  const isList = Array.isArray(answer) && indices.every(isCount)
  if (!isList || new Set(indices).size < indices.length) throw malformed('query-cpus-fast', answer)
  return indices.length
}

/** Whether a value is a count: a whole number that is exact and not negative. */
export const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0

/** Whether each vCPU has one entry, because two would be counted twice, and a possible rate. */
function isVcpus(value: unknown): boolean {
  if (!Array.isArray(value)) return false
  const ids = value.map(vcpu => (isRecord(vcpu) ? vcpu.id : undefined))
  return (
    ids.every(isCount) &&
    new Set(ids).size === ids.length &&
    value.every(vcpu => isCount(vcpu['dirty-rate']) && vcpu['dirty-rate'] <= MOST_MIB)
  )
}

export function malformed(query: string, answer: unknown): DirtyRateError {
  const text = JSON.stringify(answer) ?? 'nothing'
  return new DirtyRateError(
    'ERR_QMP_PROTOCOL',
    `the answer to ${query} is none of a QEMU: ${shortened(text)}`,
    {
      hint: 'Another program listens there. Give the monitor of a QEMU.',
      details: { call: query },
    },
  )
}
