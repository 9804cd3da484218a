/**
 * Checks that the answers to queries have the form that QEMU's schema gives them. Another program
 * may listen at a monitor, and a figure that is none must not reach a result.
 */

import { shortened } from '../../ground/arguments.js'
import { DirtyRateError } from '../../ground/errors.js'
import type { DirtyRateInfo } from '../../qapi/types.js'
import { isRecord } from '../../qmp/greeting.js'

/** The answer to query-dirty-rate. Throws ERR_QMP_PROTOCOL. */
export function dirtyRateInfoIn(answer: unknown): DirtyRateInfo {
  const isInfo =
    isRecord(answer) &&
    ['unstarted', 'measuring', 'measured'].includes(String(answer.status)) &&
    ['dirty-rate', 'start-time', 'calc-time', 'sample-pages'].every(key => isCount(answer[key])) &&
    isText(answer.mode) &&
    isVcpus(answer['vcpu-dirty-rate'])
  if (!isInfo) throw malformed('query-dirty-rate', answer)
  return answer as unknown as DirtyRateInfo
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
  const isSize = sizes.length > 0 && sizes.every(size => typeof size === 'number')
  if (!isSize || !Number.isSafeInteger(bytes) || bytes < 0)
    throw malformed('query-memory-size-summary', answer)
  return bytes
}

/** Old versions of QEMU leave fields out. A rate that could not be measured is negative. */
const isCount = (value: unknown): boolean => value === undefined || Number.isSafeInteger(value)
const isText = (value: unknown): boolean => value === undefined || typeof value === 'string'

function isVcpus(value: unknown): boolean {
  if (value === undefined) return true
  if (!Array.isArray(value)) return false
  return value.every(
    vcpu =>
      isRecord(vcpu) && Number.isSafeInteger(vcpu.id) && Number.isSafeInteger(vcpu['dirty-rate']),
  )
}

function malformed(query: string, answer: unknown): DirtyRateError {
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
