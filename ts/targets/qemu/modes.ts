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

/** The warning of a curve whose windows opened at these instants, in ms, one after the other. */
export function separateWindows(openedAtMs: readonly number[]): Warning {
  const spread = Math.max(...openedAtMs) - Math.min(...openedAtMs)
  return {
    code: 'SEPARATE_WINDOWS',
    message: `QEMU measured one window after the other: the last one opened ${spread} ms after the first, so the points are one curve only if the guest did the same all the time`,
  }
}
