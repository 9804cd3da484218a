/** The list of the VMs of this host, each with the targets that reach it. */

import { UNKNOWN_WITHOUT_PROC, type VisibleProcesses, visibleProcesses } from '../ground/proc.js'
import { thisReader } from '../targets/process/rights.js'
import type { VmmId } from '../targets/process/vmms/programs.js'
import { programFile } from './program-checks.js'
import { type Means, type Route, routesTo } from './reach.js'
import { usersByUid } from './users.js'
import { findVms, type VmProcess } from './virtual-machines.js'

/** A VM as the document of --json has it. */
export interface ListedVm {
  pid: number
  /** `other` for any other user of KVM. */
  vmm: VmmId | 'other'
  program: string
  uid: number
  user?: string
  name?: string
  accelerator?: string
  memoryBytes?: number
  vcpus?: number
  noMemory?: true
  targets: Route[]
}

export interface VmList {
  vms: ListedVm[]
  /** Processes of other users that could not be looked into. */
  closedProcesses: number
  /**
   * Which processes this one can see at all: `own` if /proc hides those of other users (hidepid),
   * `none` if it is not mounted.
   */
  visibleProcesses: VisibleProcesses
}

/** What is known of a host without /proc. */
export const PROC_UNMOUNTED: string = `Whether virtual machines run on this host ${UNKNOWN_WITHOUT_PROC}`

/** Looks at the host once. */
export async function listVms(): Promise<VmList> {
  const means: Means = { reader: thisReader(), virsh: programFile('virsh') !== undefined }
  const { vms, closed } = await findVms()
  const users = usersByUid()
  return {
    vms: vms.map(vm => listed(vm, users.get(vm.uid), means)),
    closedProcesses: closed,
    visibleProcesses: visibleProcesses(),
  }
}

function listed(vm: VmProcess, user: string | undefined, means: Means): ListedVm {
  const { pid, vmm, program, uid, name, accelerator, memoryBytes, vcpus, noMemory } = vm
  return {
    pid,
    vmm: vmm ?? 'other',
    program,
    uid,
    ...(user === undefined ? {} : { user }),
    ...(name === undefined ? {} : { name }),
    ...(accelerator === undefined ? {} : { accelerator }),
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    ...(vcpus === undefined ? {} : { vcpus }),
    ...(noMemory === undefined ? {} : { noMemory }),
    targets: routesTo(vm, means),
  }
}
