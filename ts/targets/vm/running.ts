/** Checks whether a VM can be measured, and makes the errors that say why it cannot. */

import { DirtyRateError } from '../../ground/errors.js'
import type { NativeVirtualMachine } from '../../ground/native.js'

/** The end of a sentence that says what ended a measurement. */
export const WITHIN = 'within the window'
/** The end of a sentence that says why a measurement could not begin. */
export const AT_BEGIN = 'when the measurement began'

/** Throws unless the VM runs: ERR_STATE, ERR_PAUSED, ERR_GUEST_CRASHED, ERR_CLOSED. `when` ends the sentence. */
export function requireRunning(vm: NativeVirtualMachine, when: string): void {
  switch (vm.state) {
    case 'running':
      return
    case 'created':
      throw new DirtyRateError('ERR_STATE', `the VM has not been started ${when}`, {
        hint: 'Call load(), then start().',
      })
    case 'paused':
      throw new DirtyRateError('ERR_PAUSED', `the VM was paused ${when}`)
    case 'shutdown':
      throw new DirtyRateError('ERR_STATE', `the VM was shut down ${when}`, {
        hint: 'Create a new VirtualMachine, because one that was shut down cannot start again.',
      })
    case 'crashed':
      throw crashError(vm, when)
    default:
      throw new DirtyRateError('ERR_CLOSED', `the VM is closed ${when}`)
  }
}

function crashError(vm: NativeVirtualMachine, when: string): DirtyRateError {
  const { crash } = vm
  const what = crash
    ? `vCPU ${crash.vcpu}: ${crash.reason}${crash.instructionPointer ? ` at ${crash.instructionPointer}` : ''}`
    : 'no vCPU is left'
  return new DirtyRateError('ERR_GUEST_CRASHED', `the guest crashed ${when}: ${what}`)
}
