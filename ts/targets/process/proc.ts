/** Reads what `/proc` says about a process. */

import { readFileSync } from 'node:fs'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { basename } from 'node:path'
import { DirtyRateError } from '../../ground/errors.js'
import { parseMaps } from './maps.js'
import { ABSENT_HINT, forbidden } from './permission.js'
import type { ProcessFacts } from './vmms/vmm.js'

/** The error of a process that is not there. */
export function absent(pid: number, cause?: unknown): DirtyRateError {
  return new DirtyRateError('ERR_TARGET_ABSENT', `there is no process ${pid}`, {
    hint: ABSENT_HINT,
    ...(cause === undefined ? {} : { cause }),
  })
}

/** The error of a process that has ended since the target was opened, or while it was opened. */
export function gone(pid: number, cause: unknown): DirtyRateError {
  return new DirtyRateError('ERR_TARGET_GONE', `process ${pid} has ended`, { cause })
}

/**
 * Whether the process has no memory any more. A process that ends loses its memory a moment before
 * its end is reported.
 */
export function hasNoMemory(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/maps`, 'latin1') === ''
  } catch (error) {
    const { code } = error as { code?: unknown }
    return code === 'ENOENT' || code === 'ESRCH'
  }
}

/** The error of a call on `/proc/PID/…`. */
function failed(pid: number, path: string, error: unknown): unknown {
  const { code } = error as { code?: unknown }
  if (code === 'ENOENT' || code === 'ESRCH') return absent(pid, error)
  return code === 'EACCES' || code === 'EPERM' ? forbidden(path, error) : error
}

async function reading<T>(
  pid: number,
  name: string,
  read: (path: string) => Promise<T>,
): Promise<T> {
  const path = `/proc/${pid}/${name}`
  try {
    return await read(path)
  } catch (error) {
    throw failed(pid, path, error)
  }
}

/** The file name of the process's program. */
async function programOf(pid: number): Promise<string> {
  const path = await reading(pid, 'exe', link => readlink(link))
  return basename(path.replace(/ \(deleted\)$/, ''))
}

/** How many vCPUs the process has at KVM. */
async function vcpusOf(pid: number): Promise<number> {
  const folder = `/proc/${pid}/fd`
  const numbers = await reading(pid, 'fd', path => readdir(path))
  // A descriptor may be closed meanwhile.
  const links = await Promise.all(
    numbers.map(number => readlink(`${folder}/${number}`).catch(() => '')),
  )
  // A vCPU can have several descriptors.
  return new Set(links.filter(link => link.startsWith('anon_inode:kvm-vcpu:'))).size
}

/** What is known of a process. Rejects with ERR_TARGET_ABSENT, ERR_TARGET_PERMISSION. */
export async function readProcess(pid: number): Promise<ProcessFacts> {
  const text = (path: string): Promise<string> => readFile(path, 'utf8')
  const smaps = await reading(pid, 'smaps', text)
  return {
    pid,
    program: await programOf(pid),
    commandLine: (await reading(pid, 'cmdline', text)).split('\0').slice(0, -1),
    mappings: parseMaps(smaps),
    vcpus: await vcpusOf(pid),
  }
}

/** Whether a process is stopped by a signal or by a debugger. */
export function isStopped(pid: number): boolean {
  try {
    // The name in brackets may have spaces and brackets itself.
    const [, state] = /^.*\) (\w)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
    return state === 'T' || state === 't'
  } catch {
    return false
  }
}
