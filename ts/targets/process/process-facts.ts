/** What is known of a process before it is measured, and the errors if it cannot be read. */

import { readdir, readFile, readlink } from 'node:fs/promises'
import { basename } from 'node:path'
import { codeOf } from '../../ground/errors.js'
import { limitError } from '../../ground/native-errors.js'
import { programOf, vcpusIn, wordsOf } from '../../ground/proc.js'
import { absent } from './absence.js'
import { parseMaps } from './maps.js'
import { forbidden } from './permission.js'
import type { ProcessFacts } from './vmms/vmm.js'

/** The error of a call on `/proc/PID/…`. */
function failed(pid: number, path: string, error: unknown): unknown {
  const code = codeOf(error)
  if (code === 'ENOENT' || code === 'ESRCH') return absent(pid, error)
  if (code === 'EMFILE') return limitError('open-files', `${path} was not opened`, error)
  if (code === 'ENFILE') return limitError('system-open-files', `${path} was not opened`, error)
  return code === 'EACCES' || code === 'EPERM' ? forbidden(pid, path, error) : error
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
async function programNameOf(pid: number): Promise<string> {
  const path = await reading(pid, 'exe', link => readlink(link))
  return basename(programOf(path))
}

/** How many vCPUs the process has at KVM. */
async function vcpusOf(pid: number): Promise<number> {
  const folder = `/proc/${pid}/fd`
  const numbers = await reading(pid, 'fd', path => readdir(path))
  // A descriptor may be closed meanwhile.
  const links = await Promise.all(
    numbers.map(number => readlink(`${folder}/${number}`).catch(() => '')),
  )
  return vcpusIn(links)
}

/** What is known of a process. Rejects with ERR_TARGET_ABSENT, ERR_TARGET_PERMISSION. */
export async function readProcess(pid: number): Promise<ProcessFacts> {
  const text = (path: string): Promise<string> => readFile(path, 'utf8')
  const smaps = await reading(pid, 'smaps', text)
  return {
    pid,
    program: await programNameOf(pid),
    commandLine: wordsOf(await reading(pid, 'cmdline', text)),
    mappings: parseMaps(smaps),
    vcpus: await vcpusOf(pid),
  }
}
