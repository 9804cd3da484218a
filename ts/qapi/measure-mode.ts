/** QEMU's `DirtyRateMeasureMode`, and the mode of ours that each of its values is. */

import type { Mode } from '../results/mode.js'

/** QEMU's `DirtyRateMeasureMode`. */
export type DirtyRateMeasureMode = 'page-sampling' | 'dirty-ring' | 'dirty-bitmap'

const OURS: Readonly<Record<DirtyRateMeasureMode, Mode>> = {
  'page-sampling': 'page-sampling',
  'dirty-ring': 'dirty-ring',
  'dirty-bitmap': 'dirty-bitmap',
}

const QEMUS: Readonly<Record<Mode, DirtyRateMeasureMode>> = {
  'page-sampling': 'page-sampling',
  'dirty-ring': 'dirty-ring',
  'dirty-bitmap': 'dirty-bitmap',
  // QEMU has no such mode. As its bitmap, it counts each page once, and has no figures of vCPUs.
  'soft-dirty': 'dirty-bitmap',
}

/** Every value, in QEMU's order. */
export const measureModes: readonly DirtyRateMeasureMode[] = Object.keys(
  OURS,
) as DirtyRateMeasureMode[]

/** Our mode for QEMU's. */
export function modeOf(mode: DirtyRateMeasureMode): Mode {
  return OURS[mode]
}

/** QEMU's mode for ours, or the one that is most like it. */
export function measureModeOf(mode: Mode): DirtyRateMeasureMode {
  return QEMUS[mode]
}
