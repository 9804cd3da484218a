/** The modes of QEMU, and the warnings about the way in which it measures. */

import type { ModeAbility } from '../../measurement/source.js'
import type { Warning } from '../../results/warning.js'

/** The modes of QEMU. `auto` is the one that can harm no VM. */
export const MODES: readonly ModeAbility[] = [
  {
    mode: 'page-sampling',
    exact: false,
    costToGuest: 'nothing but memory bandwidth: its pages are read, not tracked',
  },
  {
    mode: 'dirty-bitmap',
    exact: true,
    costToGuest: 'a write fault on the first write to each page of a window',
  },
  {
    mode: 'dirty-ring',
    exact: true,
    costToGuest:
      'a write fault on the first write to each page of a window, and an exit whenever a ring is full',
  },
]

/** The warning of a curve whose windows did not open together. */
export const SEPARATE_WINDOWS: Warning = {
  code: 'SEPARATE_WINDOWS',
  message:
    'QEMU measured one window after the other, so each point is of another time: they are one curve only while the guest does the same',
}
