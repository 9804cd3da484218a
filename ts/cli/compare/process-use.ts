/** What a process takes beside its vCPUs: CPU time and memory, by what the kernel says in /proc. */

import { readFileSync, writeFileSync } from 'node:fs'
import { callNative, native } from '../../ground/native.js'

/** What resets the largest amount of memory that the kernel has seen: proc(5). */
const RESET_PEAK = '5'

/**
 * The CPU time of a process since it began, without that of the threads that run vCPUs. It has the
 * time of threads that have ended.
 */
export function cpuNs(pid: number, vcpuThreads: readonly number[]): number {
  const ofVcpus = vcpuThreads.map(thread =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]),
  )
  return callNative(() => native().processCpuNs(pid)) - ofVcpus.reduce((sum, ns) => sum + ns, 0)
}

/** The resident memory of a process, and the most that it was since {@link resetPeak}. */
export function memoryOf(pid: number): { bytes: number; peakBytes: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const bytesOf = (field: string): number =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024
  return { bytes: bytesOf('VmRSS'), peakBytes: bytesOf('VmHWM') }
}

/** Begins to look for the peak of the memory anew. */
export function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, RESET_PEAK)
}
