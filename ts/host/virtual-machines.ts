/**
 * Finds the VMs of this host. Everything is read from /proc and from the files of libvirt: nobody
 * is connected to, so no monitor is taken from its user.
 */

import { basename } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import {
  argumentsOf,
  descriptorsOf,
  linkOf,
  type ProcessStatus,
  processIds,
  programOf,
  readText,
  statusOf,
  VM_FILE,
  vcpusIn,
} from '../ground/proc.js'
import type { CommandLine } from '../targets/process/vmms/command-line.js'
import { isOurBinding, type VmmId, vmmOfProgram } from '../targets/process/vmms/programs.js'
import { mayHaveRam, readCommandLine } from '../targets/process/vmms/vmms.js'
import { parseQemuCommandLine, type QemuCommandLine } from '../targets/qemu/command-line.js'
import { type LibvirtDomain, libvirtDomains } from '../targets/qemu/libvirt-files.js'
import type { MonitorPlace } from '../targets/qemu/monitor-places.js'

/** A process that runs a VM. */
export interface VmProcess {
  readonly pid: number
  /** Undefined for a program that is not known. */
  readonly vmm: VmmId | undefined
  /** The file that it runs, or the first word of its command line. */
  readonly program: string
  readonly uid: number
  readonly name?: string
  /** The UUID that the command line of a QEMU gives the VM. */
  readonly uuid?: string
  /** `kvm` if it has a VM of KVM; undefined if this process may not see that. */
  readonly accelerator?: string
  /** Absent if no guest memory is found in the process, whatever its command line says. */
  readonly memoryBytes?: number
  /** No guest memory is found in the process. Absent if there may be some. */
  readonly noMemory?: true
  readonly vcpus?: number
  readonly libvirt?: LibvirtDomain
  readonly monitors: readonly MonitorPlace[]
  /** What each of its file descriptors is; undefined if this process may not look at them. */
  readonly descriptors?: ReadonlyMap<number, string>
}

/** The VMs of this host, and how many processes could not be looked into. */
export interface Found {
  readonly vms: readonly VmProcess[]
  /** Processes of other users that may have VMs too: only their command lines could be read. */
  readonly closed: number
}

/** After this many processes, events get their turn. */
const BATCH = 50

/** Looks at every process once. */
export async function findVms(): Promise<Found> {
  const domains = libvirtDomains()
  const vms: VmProcess[] = []
  let closed = 0
  for (const [at, pid] of processIds().entries()) {
    if (at % BATCH === BATCH - 1) await setImmediate()
    const found = pid === process.pid ? undefined : lookAt(pid, domains.get(pid))
    if (found === 'closed') closed++
    else if (found !== undefined) vms.push(found)
  }
  return { vms: vms.filter(vm => !isPartOf(vm, vms)), closed }
}

/** A VMM may have processes of its own for devices, which have the VM open, but run none of it. */
function isPartOf(vm: VmProcess, vms: readonly VmProcess[]): boolean {
  if (vm.vcpus !== undefined && vm.vcpus > 0) return false
  const parent = statusOf(vm.pid)?.parent
  return vms.some(({ pid, program }) => pid === parent && program === vm.program)
}

/** The VM of a process; `closed` if this process may not look whether there is one. */
function lookAt(pid: number, domain: LibvirtDomain | undefined): VmProcess | 'closed' | undefined {
  const words = argumentsOf(pid)
  const status = statusOf(pid)
  // A kernel thread has no command line, and a process that has just ended has no status.
  if (words === undefined || status === undefined) return undefined
  const program = programOf(linkOf(pid, 'exe') ?? words[0] ?? '')
  const descriptors = descriptorsOf(pid)
  const hasVm = descriptors !== undefined && [...descriptors.values()].includes(VM_FILE)
  const named = vmmOfProgram(basename(program))
  if (!hasVm && named === undefined) return descriptors === undefined ? 'closed' : undefined
  const maps = readText(`/proc/${pid}/maps`)
  const vmm = named ?? (maps?.split('\n').some(isOurBinding) ? 'dirtyrate' : undefined)
  const qemu = vmm === 'qemu' ? parseQemuCommandLine(words) : undefined
  if (qemu?.isProbe === true) return undefined
  const commandLine = vmm === undefined ? {} : readCommandLine(vmm, words, pid)
  const seen = { pid, vmm, program, words, commandLine, qemu, status, descriptors, hasVm, domain }
  return vmOf({ ...seen, maps })
}

interface Seen {
  pid: number
  vmm: VmmId | undefined
  program: string
  /** The command line, word by word, and what it says. */
  words: readonly string[]
  commandLine: CommandLine
  /** What the command line of a QEMU says besides. */
  qemu: QemuCommandLine | undefined
  status: ProcessStatus
  descriptors: ReadonlyMap<number, string> | undefined
  /** The text of its `maps`; undefined if this process may not read it. */
  maps: string | undefined
  hasVm: boolean
  domain: LibvirtDomain | undefined
}

function vmOf(seen: Seen): VmProcess {
  const { pid, vmm, program, commandLine, qemu, status, descriptors, hasVm } = seen
  const accelerator = acceleratorOf(seen)
  const atKvm = hasVm ? vcpusAtKvm(seen) : 0
  const vcpus = atKvm || commandLine.vcpus
  const hasMemory = mayHaveMemory(seen, atKvm)
  const libvirt = seen.domain ?? libvirtBy(qemu)
  const name = libvirt?.name ?? commandLine.name
  return {
    pid,
    vmm,
    program,
    uid: status.uid,
    monitors: qemu?.monitors ?? [],
    ...(name === undefined ? {} : { name }),
    ...(qemu?.uuid === undefined ? {} : { uuid: qemu.uuid }),
    ...(accelerator === undefined ? {} : { accelerator }),
    ...(commandLine.memoryBytes === undefined || !hasMemory
      ? {}
      : { memoryBytes: commandLine.memoryBytes }),
    ...(hasMemory ? {} : { noMemory: true }),
    ...(vcpus === undefined ? {} : { vcpus }),
    ...(libvirt === undefined ? {} : { libvirt }),
    ...(descriptors === undefined ? {} : { descriptors }),
  }
}

/**
 * The domain of a QEMU that libvirt has started, if the file of its process could not be read. That
 * of another user's session is in a folder that only this user can read.
 */
function libvirtBy(qemu: QemuCommandLine | undefined): LibvirtDomain | undefined {
  if (qemu?.libvirt === undefined || qemu.name === undefined) return undefined
  return { name: qemu.name, session: qemu.libvirt === 'session' }
}

function acceleratorOf({ hasVm, descriptors, vmm, qemu }: Seen): string | undefined {
  if (hasVm) return 'kvm'
  if (vmm !== 'qemu') return undefined
  // A QEMU that has no VM of KVM translates its guest, unless its command line names another
  // accelerator.
  const named = qemu?.accelerator
  return descriptors === undefined ? named : named === undefined || named === 'kvm' ? 'tcg' : named
}

/** How many vCPUs the process has at KVM; 0 if none can be seen. */
function vcpusAtKvm({ descriptors, maps = '' }: Seen): number {
  return vcpusIn([...(descriptors?.values() ?? []), maps])
}

/** Whether there may be guest memory in the process, which is also so if nobody may look. */
function mayHaveMemory({ pid, program, words, descriptors, maps }: Seen, vcpus: number): boolean {
  if (maps === undefined || descriptors === undefined) return true
  return mayHaveRam({ pid, program: basename(program), commandLine: words, vcpus }, maps)
}
