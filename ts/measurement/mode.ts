/** Which mode measures. */

import { DirtyRateError } from '../errors.js'
import type { Mode } from '../qapi/types.js'
import { parseChoice } from '../units.js'

const modes: readonly Mode[] = ['page-sampling', 'dirty-ring', 'dirty-bitmap']

/** The modes of this release. */
export const availableModes: readonly Mode[] = ['dirty-bitmap']

/** Throws ERR_MODE_UNAVAILABLE unless this release has `mode`. */
export function requireMode(mode: Mode): void {
  if (availableModes.includes(mode)) return
  throw new DirtyRateError(
    'ERR_MODE_UNAVAILABLE',
    `mode ${mode} is not available in this release; available: ${availableModes.join(', ')}`,
  )
}

/** The mode for `wanted`; 'auto' is the exact source that the VM has. Throws ERR_ARGUMENT, ERR_MODE_UNAVAILABLE. */
export function chooseMode(wanted: Mode | 'auto'): Mode {
  const mode = parseChoice(wanted, 'mode', [...modes, 'auto'])
  if (mode === 'auto') return 'dirty-bitmap'
  requireMode(mode)
  return mode
}
