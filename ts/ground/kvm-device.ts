/** Who may open /dev/kvm, and what gives this user the right to open it. */

import { accessSync, constants, statSync } from 'node:fs'
import { type Group, groups, joinCommand, membershipIn, userName } from './groups.js'
import { hostProcess } from './host-process.js'

export const KVM_DEVICE = '/dev/kvm'
/** The group that distributions give the device. */
const KVM_GROUP = 'kvm'
/** The bits of a mode with which the group, and everybody, may read and write. */
const GROUP_MAY = 0o060
const ALL_MAY = 0o006

/** What decides who may open the device. */
export interface DeviceFacts {
  readonly gid: number
  readonly mode: number
  readonly groups: readonly Group[]
  /** The user of this process; undefined if it has no name. */
  readonly user: string | undefined
  readonly isRoot: boolean
  /** Whether the kernel lets this process open it, also by an access-control list. */
  readonly opens: boolean
}

/** Whether this user may open the device, by what, and what helps if not. */
export interface DeviceAccess {
  readonly opens: boolean
  /** Why, as a part of a sentence. */
  readonly why: string
  readonly mend?: string
}

/** The access to the device of this host; undefined if there is no device. */
export function deviceAccess(): DeviceAccess | undefined {
  try {
    const { gid, mode } = statSync(KVM_DEVICE)
    const isRoot = hostProcess.geteuid?.() === 0
    return judgeAccess({ gid, mode, groups: groups(), user: userName(), isRoot, opens: opens() })
  } catch {
    return undefined
  }
}

function opens(): boolean {
  try {
    accessSync(KVM_DEVICE, constants.R_OK | constants.W_OK)
    return true
  } catch {
    return false
  }
}

export function judgeAccess(facts: DeviceFacts): DeviceAccess {
  const { gid, mode, isRoot, user } = facts
  const group = facts.groups.find(one => one.gid === gid)
  const name = group?.name ?? String(gid)
  if (isRoot) return { opens: true, why: `${name}; root needs none` }
  if ((mode & ALL_MAY) === ALL_MAY) return { opens: true, why: `${name}; open to all users` }
  if (facts.opens) return { opens: true, why: `${name}; open to this user` }
  // Nobody is advised to join the group root: it may change much more than this device.
  if ((mode & GROUP_MAY) !== GROUP_MAY || gid === 0) {
    const octal = (mode & 0o777).toString(8).padStart(4, '0')
    return { opens: false, why: `${name}, mode ${octal}: only for root`, mend: forGroup(facts) }
  }
  const membership = group === undefined ? 'none' : membershipIn(group, user)
  if (membership === 'later') {
    return {
      opens: false,
      why: `${user} is in ${name}, but has not logged in since`,
      mend: `Log in again, or begin a shell that has the group: newgrp ${name}`,
    }
  }
  return membership === 'now'
    ? { opens: false, why: `this process is in ${name}, and is refused all the same` }
    : {
        opens: false,
        why: `this process is not in ${name}`,
        mend: `Join the group that owns the device (${joinCommand(name, user)}, then log in again), or run as root.`,
      }
}

/** How the device is given to the group kvm, of which this user may have to become a member. */
function forGroup({ groups: all, user }: DeviceFacts): string {
  const group = all.find(({ name }) => name === KVM_GROUP)
  const make = group === undefined ? `sudo groupadd --system ${KVM_GROUP} && ` : ''
  const isMember = group !== undefined && membershipIn(group, user) !== 'none'
  const join = isMember
    ? ''
    : ` Then join that group (${joinCommand(KVM_GROUP, user)}), and log in again.`
  return `Open the device to the group ${KVM_GROUP}: ${make}sudo chgrp ${KVM_GROUP} ${KVM_DEVICE} && sudo chmod 660 ${KVM_DEVICE}.${join} A rule of udev keeps it so: KERNEL=="kvm", GROUP="kvm", MODE="0660". Or run as root.`
}
