/** What this host can measure, and what is missing. */

import { UNKNOWN_WITHOUT_PROC, visibleProcesses } from '../ground/proc.js'
import { type Reader, thisReader } from '../targets/process/rights.js'
import type { Check } from './check.js'
import { kernelChecks } from './kernel-checks.js'
import { kvmChecks } from './kvm-checks.js'
import { programChecks, programFile } from './program-checks.js'
import { type Means, routesTo } from './reach.js'
import { rightsChecks } from './rights-checks.js'
import { findVms } from './virtual-machines.js'

/** What follows for a kind of target. */
export interface Ability {
  readonly scheme: string
  readonly possible: boolean
  /** Why, as a part of a sentence. */
  readonly why: string
}

export interface Diagnosis {
  /** Whether at least one kind of target can be measured here and now. */
  readonly measurable: boolean
  readonly targets: readonly Ability[]
  readonly checks: readonly Check[]
}

/** The kinds of target that reach VMs of others, with what each needs. */
const FOREIGN: readonly { scheme: string; none: string }[] = [
  { scheme: 'libvirt', none: 'no domain of libvirt runs that this user can reach' },
  { scheme: 'qmp', none: 'no QEMU runs with a QMP socket that this user can reach' },
  { scheme: 'pid', none: 'no VM runs whose memory this user can read' },
]

/** Examines the host for the kinds of target in `schemes`. */
export async function diagnose(schemes: readonly string[]): Promise<Diagnosis> {
  const reader = thisReader()
  const kvm = await kvmChecks()
  const programs = await programChecks()
  const checks = [...kvm, ...rightsChecks(reader), ...kernelChecks(), ...programs]
  const daemonAnswers = programs.some(({ id, state }) => id === 'libvirt' && state === 'good')
  const own = kvm.find(({ id }) => id === 'kvm-device')
  const canMake = own?.state === 'good'
  const ours = ['guest', 'kernel'].map(scheme => ({
    scheme,
    possible: canMake,
    why: canMake ? 'virtual machines can be made here' : 'no virtual machine can be made here',
  }))
  const targets = [...ours, ...(await foreign(reader, daemonAnswers))].filter(({ scheme }) =>
    schemes.includes(scheme),
  )
  return { measurable: targets.some(({ possible }) => possible), targets, checks }
}

async function foreign(reader: Reader, daemonAnswers: boolean): Promise<Ability[]> {
  if (visibleProcesses() === 'none')
    return FOREIGN.map(({ scheme }) => ({
      scheme,
      possible: false,
      why: `what runs here ${UNKNOWN_WITHOUT_PROC}`,
    }))
  const means: Means = { reader, virsh: programFile('virsh') !== undefined, daemonAnswers }
  const { vms } = await findVms()
  const routes = vms.filter(vm => !vm.noMemory).flatMap(vm => routesTo(vm, means))
  return FOREIGN.map(({ scheme, none }) => {
    const count = routes.filter(
      ({ target, reachable }) => reachable && target.startsWith(`${scheme}:`),
    ).length
    const nothing = scheme === 'libvirt' ? (withoutLibvirt(means) ?? none) : none
    const why = count === 0 ? nothing : `${count} ${count === 1 ? 'VM' : 'VMs'} can be reached`
    return { scheme, possible: count > 0, why }
  })
}

/** Why no domain of libvirt can be reached, if that is not for want of domains. */
function withoutLibvirt({ virsh, daemonAnswers }: Means): string | undefined {
  if (!virsh) return 'virsh is not installed'
  return daemonAnswers === false ? "libvirt's daemon gives this user no answer" : undefined
}
