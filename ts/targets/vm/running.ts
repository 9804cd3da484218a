/** Checks whether a VM can be measured, and makes the errors that say why it cannot. */

import { DirtyRateError } from '../../ground/errors.js'
import type { NativeVirtualMachine } from '../../ground/native.js'
import type { Crash } from './reports.js'

/** The end of a sentence that says what ended a measurement. */
export const WITHIN = 'within the window'
/** The end of a sentence that says why a measurement could not begin. */
export const AT_BEGIN = 'when the measurement began'

/**
 * Throws unless the VM runs: ERR_STATE, ERR_PAUSED, ERR_GUEST_CRASHED, ERR_CLOSED. `when` ends the
 * sentence.
 */
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
  return new DirtyRateError(
    'ERR_GUEST_CRASHED',
    `the guest crashed ${when}: ${crashText(vm.crash)}`,
  )
}

/** How a guest crashed, as a part of a sentence. */
export function crashText(crash: Crash | null): string {
  if (crash === null) return 'no vCPU is left'
  const { vcpu, reason, instructionPointer } = crash
  return `vCPU ${vcpu}: ${reason}${instructionPointer ? ` at ${instructionPointer}` : ''}`
}
