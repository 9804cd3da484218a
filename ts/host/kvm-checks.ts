/** Whether this process can use KVM, and what this KVM can do. */

import { readFileSync, statSync } from 'node:fs'
import { capabilities } from '../targets/vm/capabilities.js'
import type { Capabilities } from '../targets/vm/reports.js'
import { VirtualMachine } from '../targets/vm/virtual-machine.js'
import type { Check } from './check.js'

const DEVICE = '/dev/kvm'

/** The device, its group, and its features. */
export async function kvmChecks(): Promise<Check[]> {
  const device = await deviceCheck()
  const features = device.state === 'good' ? featureChecks(capabilities()) : []
  return [device, groupCheck(), ...features]
}

async function deviceCheck(): Promise<Check> {
  const check = { id: 'kvm-device', name: DEVICE }
  try {
    // Another hypervisor that has the CPU is noticed only by making a VM.
    const vm = await VirtualMachine.create({ memory: '2MiB' })
    await vm.close()
    return { ...check, state: 'good', found: 'a virtual machine can be made' }
  } catch (error) {
    const { message, hint } = error as Error & { hint?: string }
    return {
      ...check,
      state: 'missing',
      found: message,
      ...(hint === undefined ? {} : { mend: hint }),
    }
  }
}

/** Whether this process is in the group that owns the device. Root needs no group. */
function groupCheck(): Check {
  const check = { id: 'kvm-group', name: 'group of /dev/kvm' }
  let stat: { gid: number; mode: number }
  try {
    stat = statSync(DEVICE)
  } catch {
    return { ...check, state: 'unknown', found: 'there is no device' }
  }
  const { gid, mode } = stat
  const group = groupOf(gid)
  const name = group?.name ?? String(gid)
  if (process.geteuid?.() === 0)
    return { ...check, state: 'good', found: `${name}; root needs none` }
  if ((mode & 0o006) === 0o006)
    return { ...check, state: 'good', found: `${name}; open to all users` }
  if (process.getgroups?.().includes(gid) || process.getegid?.() === gid)
    return { ...check, state: 'good', found: `this process is in ${name}` }
  const user = process.env.USER ?? ''
  if (group?.members.includes(user) === true) {
    return {
      ...check,
      state: 'missing',
      found: `${user} is in ${name}, but has not logged in since`,
      mend: `Log in again, or begin a shell that has the group: newgrp ${name}`,
    }
  }
  return {
    ...check,
    state: 'missing',
    found: `this process is not in ${name}`,
    mend: `sudo usermod -aG ${name} "$USER", then log in again`,
  }
}

function groupOf(gid: number): { name: string; members: string[] } | undefined {
  try {
    for (const line of readFileSync('/etc/group', 'utf8').split('\n')) {
      const [name = '', , id, members = ''] = line.split(':')
      if (Number(id) === gid && id !== '') return { name, members: members.split(',') }
    }
  } catch {
    // Some containers have no such file.
  }
  return undefined
}

function featureChecks(found: Capabilities): Check[] {
  const ring = found.dirtyRing || found.dirtyRingAcqRel
  const emulated: Check[] =
    found.emulated === true
      ? [
          {
            id: 'emulated-guests',
            name: 'emulated guests',
            state: 'limited',
            found:
              'this KVM emulates guests, so a QEMU with dirty rings would stand still for ever',
            mend: 'Measure VMs of QEMU by page-sampling or dirty-bitmap',
          },
        ]
      : []
  return [
    {
      id: 'manual-protect',
      name: 'manual protect',
      state: found.manualDirtyLogProtect === 'none' ? 'limited' : 'good',
      found: found.manualDirtyLogProtect,
      ...(found.manualDirtyLogProtect === 'none' ? { mend: 'Use a kernel of 5.1 or later' } : {}),
    },
    {
      id: 'dirty-ring',
      name: 'dirty ring',
      state: ring ? 'good' : 'limited',
      found: ring ? `${found.dirtyRingEntries} entries` : 'none: the mode dirty-ring is not there',
      ...(ring ? {} : { mend: 'Use a kernel of 5.11 or later, on arm64 6.1 or later' }),
    },
    ...emulated,
  ]
}
