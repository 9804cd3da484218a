/** The options of all targets that QEMU measures. */

import { parseChoice } from '../../ground/arguments.js'
import type { TargetOption } from '../scheme.js'

export const QEMU_OPTIONS: Readonly<Record<string, TargetOption>> = {
  force: {
    value: 'on|off',
    default: 'off',
    meaning: 'on: measure in a mode that is known to harm this VM, or to read nonsense there',
  },
}

/** Whether the value of `force=` accepts harm to the VM. Throws ERR_ARGUMENT. */
export function parseForce(value: string = 'off'): boolean {
  return parseChoice(value, 'force', ['on', 'off']) === 'on'
}
