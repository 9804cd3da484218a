/**
 * Reads the entries of processes in /proc. A process may end while it is read, and most entries of
 * another user's process are closed to this one, so each reader returns undefined instead of
 * throwing. What the texts mean is a function of its own, for readers that need the error.
 */

import { closeSync, lstatSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { codeOf } from './errors.js'
import { hostProcess } from './host-process.js'

/** What a file of /proc contains; undefined if it cannot be read. */
export function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

/** The numbers of all processes that this one can see, ascending; none where there is no /proc. */
export function processIds(): number[] {
  return namesIn('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b)
}

/** The names of the files in a folder; none if it cannot be read. */
export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** The command line of a process, word by word; undefined for a kernel thread or a zombie. */
export function argumentsOf(pid: number): string[] | undefined {
  const text = readText(`/proc/${pid}/cmdline`)
  return text === undefined || text === '' ? undefined : wordsOf(text)
}

/** The words of a command line, each of which ends with a zero byte. */
export function wordsOf(text: string): string[] {
  return text.replace(/\0$/, '').split('\0')
}

/** The path of a program, by its link `exe`, also after its file was deleted. */
export function programOf(link: string): string {
  return link.replace(/ \(deleted\)$/, '')
}

/** Where a link of /proc leads; undefined if this process may not read it. */
export function linkOf(pid: number, name: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/${name}`)
  } catch {
    return undefined
  }
}

/** What each file descriptor is; undefined if this process may not look at them. */
export function descriptorsOf(pid: number): Map<number, string> | undefined {
  let names: string[]
  try {
    names = readdirSync(`/proc/${pid}/fd`)
  } catch {
    return undefined
  }
  const links = names.flatMap(name => {
    const link = linkOf(pid, `fd/${name}`)
    return link === undefined ? [] : [[Number(name), link] as const]
  })
  return new Map(links)
}

/** What is said of anything that only /proc tells, where it is not mounted. */
export const UNKNOWN_WITHOUT_PROC = 'is not known, because /proc is not mounted'

/** The command that mounts /proc. */
export const MOUNT_PROC = 'sudo mount -t proc proc /proc'

/** Which processes this one can see in /proc. */
export type VisibleProcesses = 'all' | 'own' | 'none'

/** Looks which processes can be seen: each namespace has a process 1, whose status all may read. */
export function visibleProcesses(): VisibleProcesses {
  if (statusOf('self') === undefined) return 'none'
  return statusOf(1) === undefined ? 'own' : 'all'
}

/**
 * Whether /proc has the numbers that this process may use for others, and not those of another PID
 * namespace.
 */
export function isProcOfThisNamespace(): boolean {
  try {
    return readlinkSync('/proc/self') === String(hostProcess.pid)
  } catch {
    return false
  }
}

/** What the kernel calls the file of a VM of KVM. */
export const VM_FILE = 'anon_inode:kvm-vm'
const VCPU = /anon_inode:kvm-vcpu:(\d+)$/gm

/**
 * How many vCPUs of KVM are named in `texts`: the links of files, or the text of `maps`. A vCPU has
 * several files, a mapping, or both, each with its number.
 */
export function vcpusIn(texts: Iterable<string>): number {
  const ids = [...texts].flatMap(text => [...text.matchAll(VCPU)].map(([, id]) => id))
  return new Set(ids).size
}

/**
 * Whether the process has no memory any more. A process that ends loses its memory a moment before
 * its end is reported.
 */
export function hasNoMemory(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/maps`, 'latin1') === ''
  } catch (error) {
    const code = codeOf(error)
    return code === 'ENOENT' || code === 'ESRCH'
  }
}

/** Whether a process is stopped by a signal or by a debugger. */
export function isStopped(pid: number): boolean {
  return stoppedBy(pid) !== undefined
}

/** Who has stopped a process; undefined if nobody has, or if there is none. */
export function stoppedBy(pid: number): 'a signal' | 'a debugger' | undefined {
  const state = stateOf(pid)
  return state === 'T' ? 'a signal' : state === 't' ? 'a debugger' : undefined
}

/**
 * What lets a process go on that is stopped by this, as the hint of an error; undefined if it was
 * stopped and has gone on meanwhile.
 */
export function goOn(pid: number, by: ReturnType<typeof stoppedBy>): string {
  if (by === undefined) return 'It goes on now: try again.'
  return by === 'a signal'
    ? `Let it go on (kill -CONT ${pid}), then try again.`
    : 'Let its debugger go on or leave it, then try again.'
}

/** The letter of proc_pid_stat(5) for what a process does; undefined if there is none. */
export function stateOf(pid: number): string | undefined {
  // The name in brackets may have spaces and brackets itself.
  return /^.*\) (\w)/s.exec(readText(`/proc/${pid}/stat`) ?? '')?.[1]
}

/** What is known of a process from its status. */
export interface ProcessStatus {
  readonly parent: number
  /** The user whose rights it has. */
  readonly uid: number
  /** The masks of its capabilities: those that it may have, and those that it uses. */
  readonly permitted: bigint
  readonly effective: bigint
}

/** The status of a process; undefined if it has ended. */
export function statusOf(pid: number | 'self'): ProcessStatus | undefined {
  const text = readText(`/proc/${pid}/status`) ?? ''
  const parent = /^PPid:\t(\d+)$/m.exec(text)?.[1]
  const uid = /^Uid:\t\d+\t(\d+)\t/m.exec(text)?.[1]
  if (parent === undefined || uid === undefined) return undefined
  const mask = (name: string): bigint =>
    BigInt(`0x${new RegExp(`^${name}:\\t([0-9a-f]+)$`, 'm').exec(text)?.[1] ?? '0'}`)
  return {
    parent: Number(parent),
    uid: Number(uid),
    permitted: mask('CapPrm'),
    effective: mask('CapEff'),
  }
}

/** The user who owns a file of /proc; undefined if there is no such file. */
export function ownerOf(file: string): number | undefined {
  try {
    return lstatSync(file).uid
  } catch {
    return undefined
  }
}

/**
 * Whether a file of /proc can be opened for reading. The kernel checks all rights when the file is
 * opened, so nothing of the other process has to be read.
 */
export function opens(file: string): boolean {
  try {
    closeSync(openSync(file, 'r'))
    return true
  } catch {
    return false
  }
}
