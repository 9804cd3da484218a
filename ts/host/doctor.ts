/** What this host can measure, and what is missing. */

import type { Check } from './check.js'
import { kernelChecks } from './kernel-checks.js'
import { kvmChecks } from './kvm-checks.js'
import { programChecks, programFile } from './program-checks.js'
import { waysTo } from './reach.js'
import { thisReader } from './rights.js'
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
  const checks = [...kvm, ...rightsChecks(reader), ...kernelChecks(), ...(await programChecks())]
  const own = kvm.find(({ id }) => id === 'kvm-device')
  const canMake = own?.state === 'good'
  const ours = ['guest', 'kernel'].map(scheme => ({
    scheme,
    possible: canMake,
    why: canMake ? 'virtual machines can be made here' : 'no virtual machine can be made here',
  }))
  const targets = [...ours, ...(await foreign(reader))].filter(({ scheme }) =>
    schemes.includes(scheme),
  )
  return { measurable: targets.some(({ possible }) => possible), targets, checks }
}

async function foreign(reader: ReturnType<typeof thisReader>): Promise<Ability[]> {
  const means = { reader, virsh: programFile('virsh') !== undefined }
  const { vms } = await findVms()
  const ways = vms.flatMap(vm => waysTo(vm, means))
  return FOREIGN.map(({ scheme, none }) => {
    const count = ways.filter(
      ({ target, reachable }) => reachable && target.startsWith(`${scheme}:`),
    ).length
    const why = count === 0 ? none : `${count} ${count === 1 ? 'VM' : 'VMs'} can be reached`
    return { scheme, possible: count > 0, why }
  })
}
