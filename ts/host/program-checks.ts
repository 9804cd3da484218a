/** The programs of others: virsh with libvirt's daemon, and QEMU. */

import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { hasCode } from '../ground/errors.js'
import { START_LIBVIRT, VIRSH_PACKAGES, whenRefused } from '../targets/libvirt/advice.js'
import { defaultConnection, failure } from '../targets/libvirt/connection.js'
import { virsh } from '../targets/libvirt/virsh.js'
import type { Check } from './check.js'

/** How long a program may take to print its version. */
const VERSION_MS = 5000
/** How long the daemon of libvirt may take to answer, which socket activation may start first. */
const ANSWER_MS = 10_000

/** The file of a program, as a shell would find it; undefined if there is none. */
export function programFile(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return folders
    .filter(folder => folder !== '')
    .map(folder => join(folder, name))
    .find(isExecutable)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

export async function programChecks(): Promise<Check[]> {
  return [virshCheck(), await daemonCheck(), await qemuCheck()]
}

function virshCheck(): Check {
  const check = { id: 'virsh', name: 'virsh' }
  const file = programFile('virsh')
  return file === undefined
    ? { ...check, state: 'missing', found: 'not installed', mend: VIRSH_PACKAGES }
    : { ...check, state: 'good', found: file }
}

async function daemonCheck(): Promise<Check> {
  const check = { id: 'libvirt', name: 'libvirt' }
  if (programFile('virsh') === undefined)
    return { ...check, state: 'unknown', found: 'not known without virsh' }
  const connect = defaultConnection()
  const asked = virsh(['hostname'], { connect, timeoutMs: ANSWER_MS })
  const { status, stderr } = await asked.catch((error: Error) => ({
    status: 1,
    stderr: error.message,
  }))
  if (status === 0) return { ...check, state: 'good', found: `${connect} answers` }
  const text =
    stderr
      .trim()
      .replace(/^error: /gm, '')
      .split('\n')
      .at(-1) ?? ''
  const why = status === undefined ? `no answer in ${ANSWER_MS / 1000} s` : text
  const isClosed = hasCode(failure(stderr, '', connect), 'ERR_TARGET_PERMISSION')
  return {
    ...check,
    state: 'missing',
    found: `${connect}: ${why}`,
    mend: isClosed ? whenRefused() : START_LIBVIRT,
  }
}

async function qemuCheck(): Promise<Check> {
  const check = { id: 'qemu', name: 'QEMU' }
  const arch = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
  const names = [`qemu-system-${arch}`, 'qemu-kvm']
  const file = names.map(programFile).find(found => found !== undefined) ?? redHats()
  if (file === undefined)
    return { ...check, state: 'unknown', found: 'not installed for this user; no target needs it' }
  try {
    const options = { timeout: VERSION_MS, killSignal: 'SIGKILL' as const }
    const { stdout } = await promisify(execFile)(file, ['--version'], options)
    const version = /version ([\w.+-]+)/.exec(stdout)?.[1] ?? stdout.split('\n', 1)[0]
    return { ...check, state: 'good', found: `${file}, version ${version}` }
  } catch (error) {
    return { ...check, state: 'unknown', found: `${file}: ${(error as Error).message}` }
  }
}

/** Red Hat's QEMU is not in the folders of PATH. */
function redHats(): string | undefined {
  const file = '/usr/libexec/qemu-kvm'
  return isExecutable(file) ? file : undefined
}
