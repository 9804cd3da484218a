/** Whether this process can use KVM, and what this KVM can do. */

import { deviceAccess, KVM_DEVICE } from '../ground/kvm-device.js'
import { capabilities } from '../targets/vm/capabilities.js'
import type { Capabilities } from '../targets/vm/reports.js'
import { VirtualMachine } from '../targets/vm/virtual-machine.js'
import type { Check } from './check.js'

/** The device, its group, and its features. */
export async function kvmChecks(): Promise<Check[]> {
  const device = await deviceCheck()
  const features = device.state === 'good' ? featureChecks(capabilities()) : []
  return [device, groupCheck(), ...features]
}

async function deviceCheck(): Promise<Check> {
  const check = { id: 'kvm-device', name: KVM_DEVICE }
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

/** Whether the owner, the group and the mode of the device let this process open it. */
function groupCheck(): Check {
  const check = { id: 'kvm-group', name: 'group of /dev/kvm' }
  const access = deviceAccess()
  if (access === undefined) return { ...check, state: 'unknown', found: 'there is no device' }
  const { opens, why, mend } = access
  const state = opens ? 'good' : 'missing'
  return { ...check, state, found: why, ...(mend === undefined ? {} : { mend }) }
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
            mend: 'Measure VMs of QEMU with --mode page-sampling or --mode dirty-bitmap',
          },
        ]
      : []
  return [
    {
      id: 'manual-protect',
      name: 'manual protect',
      state: found.manualDirtyLogProtect === 'none' ? 'limited' : 'good',
      found: found.manualDirtyLogProtect,
      ...(found.manualDirtyLogProtect === 'none' ? { mend: 'Boot Linux 5.1 or later' } : {}),
    },
    {
      id: 'dirty-ring',
      name: 'dirty ring',
      state: ring ? 'good' : 'limited',
      found: ring ? `${found.dirtyRingEntries} entries` : 'none: the mode dirty-ring is not there',
      ...(ring ? {} : { mend: 'Boot Linux 5.11 or later, on arm64 6.1 or later' }),
    },
    ...emulated,
  ]
}
