/** The options of all targets that QEMU measures. */

import type { TargetOption } from '../scheme.js'

export const QEMU_OPTIONS: Readonly<Record<string, TargetOption>> = {
  force: {
    value: 'on|off',
    default: 'off',
    meaning: 'on: measure in a mode that is known to harm this VM, or to read nonsense there',
  },
}
