/**
 * Which rights a process needs to look at the memory of another one: the one table of it, which
 * `doctor`, `list`, the errors of `pid:` targets and the docs share. It was measured on Linux 6.1,
 * 6.12 and 6.18.
 */

import { AS_ROOT_COMMAND } from '../../ground/groups.js'
import { hostProcess } from '../../ground/host-process.js'
import { ownerOf, readText, statusOf } from '../../ground/proc.js'

/** What a reader can do with a process. */
export interface Access {
  /** Read the list of its memory ranges, /proc/PID/maps. */
  readonly maps: boolean
  /** Read its memory, with process_vm_readv(2). */
  readonly memory: boolean
  /** See which pages are present, in /proc/PID/pagemap. */
  readonly pagemap: boolean
  /** Open its files again, by /proc/PID/fd. */
  readonly files: boolean
}

/** A row of the table of rights. */
export interface Right {
  /** Who reads whose memory. */
  readonly reader: string
  readonly access: Access
  /** How the reader gets what is missing; absent if nothing is missing. */
  readonly mend?: string
}

const ALL: Access = { maps: true, memory: true, pagemap: true, files: true }
const NONE: Access = { maps: false, memory: false, pagemap: false, files: false }
/** How this program is run as root. */
export const AS_ROOT: string = `Run it as root: ${AS_ROOT_COMMAND}`
const ADD_CAPABILITY =
  'Give this program CAP_SYS_PTRACE, which it lacks: to a container with --cap-add SYS_PTRACE'

/** The names of the rows. */
export type RightName =
  | 'root'
  | 'sameUser'
  | 'notDumpable'
  | 'otherUser'
  | 'rootOfContainer'
  | 'ptrace'
  | 'ptraceAndRead'
  | 'privileged'
  | 'scope'
  | 'closedScope'

/** The table. */
export const RIGHTS: Readonly<Record<RightName, Right>> = {
  root: { reader: 'root', access: ALL },
  sameUser: { reader: 'the user whose process it is', access: ALL },
  notDumpable: {
    reader: 'the user whose process it is, if it has changed its user or its dumpable flag',
    access: NONE,
    mend: `${AS_ROOT}. The process has changed its user, so the kernel closes it to its own user`,
  },
  otherUser: {
    reader: 'another user',
    access: NONE,
    mend: `${AS_ROOT}. CAP_SYS_PTRACE with CAP_DAC_READ_SEARCH is enough, too`,
  },
  rootOfContainer: {
    reader: 'root without CAP_SYS_PTRACE, as in a container, if another user has the process',
    access: NONE,
    mend: ADD_CAPABILITY,
  },
  ptrace: {
    reader: 'another user with CAP_SYS_PTRACE',
    access: { maps: true, memory: true, pagemap: false, files: false },
    mend: `${AS_ROOT}. Or give this program CAP_DAC_READ_SEARCH beside CAP_SYS_PTRACE, because only that opens the pagemap`,
  },
  ptraceAndRead: {
    reader: 'another user with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH',
    access: ALL,
  },
  privileged: {
    reader:
      'the user whose process it is, if the process has more capabilities, as root in a container',
    // CAP_PERFMON and CAP_SYS_ADMIN open maps and pagemap on newer kernels, but never the memory.
    access: NONE,
    mend: ADD_CAPABILITY,
  },
  scope: {
    reader: 'the user whose process it is, where kernel.yama.ptrace_scope is 1 or 2',
    access: { maps: true, memory: false, pagemap: true, files: true },
    mend: `${AS_ROOT}. Or allow it to all users: sudo sysctl kernel.yama.ptrace_scope=0`,
  },
  closedScope: {
    reader: 'anybody, root too, where kernel.yama.ptrace_scope is 3',
    access: { maps: true, memory: false, pagemap: true, files: true },
    mend: 'No command lowers it while this kernel runs: set kernel.yama.ptrace_scope to a lower value in /etc/sysctl.d, and boot again',
  },
}

/** The bits of capabilities(7) that matter here. */
const CAPABILITIES = {
  CAP_DAC_OVERRIDE: 1,
  CAP_DAC_READ_SEARCH: 2,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
  CAP_CHECKPOINT_RESTORE: 40,
} as const

export type Capability = keyof typeof CAPABILITIES

/** Who wants to look at other processes. */
export interface Reader {
  readonly uid: number
  readonly capabilities: readonly Capability[]
  /** The value of kernel.yama.ptrace_scope; 0 where the kernel has no Yama. */
  readonly ptraceScope: number
}

/** Whose memory is to be looked at. */
export interface Subject {
  readonly uid: number
  /** Whether the kernel lets its own user look at it. */
  readonly dumpable: boolean
  /** Whether it has a capability that the reader lacks. */
  readonly privileged: boolean
}

/** The row of the table for this reader and this subject. */
export function rightOf(reader: Reader, subject: Subject): RightName {
  const has = (capability: Capability): boolean => reader.capabilities.includes(capability)
  const isRoot = reader.uid === 0
  if (reader.ptraceScope === 3) return 'closedScope'
  if (has('CAP_SYS_PTRACE')) {
    if (isRoot) return 'root'
    if (reader.uid === subject.uid && subject.dumpable) return 'sameUser'
    const opensFiles = has('CAP_DAC_READ_SEARCH') || has('CAP_DAC_OVERRIDE')
    return opensFiles ? 'ptraceAndRead' : 'ptrace'
  }
  if (reader.uid !== subject.uid) return isRoot ? 'rootOfContainer' : 'otherUser'
  if (!subject.dumpable) return 'notDumpable'
  if (subject.privileged) return 'privileged'
  return reader.ptraceScope > 0 ? 'scope' : 'sameUser'
}

/** The capabilities of a mask, of those that matter here. */
export function capabilitiesOf(mask: bigint): Capability[] {
  return (Object.keys(CAPABILITIES) as Capability[]).filter(
    name => ((mask >> BigInt(CAPABILITIES[name])) & 1n) === 1n,
  )
}

/** A process, as the subject of this one; undefined if it has ended. */
export function subjectOf(pid: number): Subject | undefined {
  const status = statusOf(pid)
  const owner = ownerOf(`/proc/${pid}/maps`)
  if (status === undefined || owner === undefined) return undefined
  // The files of a process that its own user may not look at belong to root.
  const dumpable = owner === status.uid
  const privileged = (status.permitted & ~(statusOf('self')?.effective ?? 0n)) !== 0n
  return { uid: status.uid, dumpable, privileged }
}

/** This process, as a reader of others. */
export function thisReader(): Reader {
  const scope = readText('/proc/sys/kernel/yama/ptrace_scope')
  return {
    uid: hostProcess.geteuid?.() ?? 0,
    capabilities: capabilitiesOf(statusOf('self')?.effective ?? 0n),
    ptraceScope: scope === undefined ? 0 : Number(scope),
  }
}

/**
 * What opens the memory of a process to a reader whom the kernel has refused. A process that has
 * ended is taken for one of another user.
 */
export function mendFor(reader: Reader, subject: Subject | undefined): string {
  const right = subject === undefined ? 'otherUser' : rightOf(reader, subject)
  return RIGHTS[right].mend ?? (reader.uid === 0 ? PROTECTED : AS_ITS_USER)
}

const PROTECTED = 'A security module of the kernel protects this process: see the log of the kernel'
/** What opens to a reader what is closed to this user for a reason that the table does not have. */
export const AS_ITS_USER: string = `${AS_ROOT}. Or run it as the user of the VM`
