/** The modes of our own VMs, and the errors for modes that a VM does not have. */

import { DirtyRateError } from '../../ground/errors.js'
import type { ModeAbility } from '../../measurement/source.js'
import type { Mode } from '../../results/mode.js'
import type { Warning } from '../../results/warning.js'

/** The modes that our own VMs can have. */
type OwnMode = Exclude<Mode, 'soft-dirty'>

/** The dirty log of a VM, which is chosen at its creation. */
export type DirtyLogKind = 'bitmap' | 'ring'

/** The exact mode of a VM with this log. */
export function exactMode(log: DirtyLogKind): 'dirty-bitmap' | 'dirty-ring' {
  return log === 'ring' ? 'dirty-ring' : 'dirty-bitmap'
}

/** The modes of a VM with this log, its exact one first. */
export function modesOf(log: DirtyLogKind): readonly Mode[] {
  return ownModesOf(log)
}

function ownModesOf(log: DirtyLogKind): readonly OwnMode[] {
  return [exactMode(log), 'page-sampling']
}

/** What each mode costs the guest, as a part of a sentence. */
const costToGuest: Readonly<Record<OwnMode, string>> = {
  'dirty-bitmap':
    'a write fault on the first write to each page of a window, and the wait for one CLEAR at most',
  'dirty-ring':
    'a write fault on the first write to each page of a window, and an exit whenever its ring is full',
  'page-sampling': 'nothing but memory bandwidth: its pages are read, not tracked',
}

/** The modes of a VM with this log, with what each costs the guest. */
export function abilitiesOf(log: DirtyLogKind): readonly ModeAbility[] {
  return ownModesOf(log).map(mode => ({
    mode,
    exact: mode === exactMode(log),
    costToGuest: costToGuest[mode],
  }))
}

/** How to create a VM with each log. */
const howToCreate: Readonly<Record<DirtyLogKind, string>> = {
  bitmap: "create it with dirtyLog: 'bitmap' (target option log=bitmap)",
  ring: 'create it with dirtyLog: { ringEntries: 65536 } (target option log=ring,ring-entries=65536)',
}

/** Why no VM on this kernel can have rings. */
const KERNEL_WITHOUT_RING =
  'this kernel has no dirty ring (x86-64 has since Linux 5.11, arm64 since 6.2)'

/**
 * The warning of each exact measurement of a VM that asked for rings on a kernel without them. The
 * VM has the bitmap instead, as in QEMU.
 */
export const RING_UNAVAILABLE: Warning = {
  code: 'RING_UNAVAILABLE',
  message: `${KERNEL_WITHOUT_RING}: the dirty bitmap measured instead, which is as exact, but has no figures for each vCPU`,
}

/**
 * The error ERR_MODE_UNAVAILABLE, which says which modes a VM with this log has, and how to create
 * a VM with the other log, if that is possible.
 */
export function modeUnavailable(
  mode: Mode,
  log: DirtyLogKind,
  kernelHasRing: boolean,
): DirtyRateError {
  const message = `mode ${mode} is not available: this VM has a dirty ${log}, with the modes ${modesOf(log).join(' and ')}`
  if (mode === 'soft-dirty') {
    return new DirtyRateError('ERR_MODE_UNAVAILABLE', message, {
      hint: "Use 'auto', which is as exact: soft-dirty is for a process that another program has made (pid:N).",
    })
  }
  const other = log === 'ring' ? 'bitmap' : 'ring'
  const how =
    other === 'ring' && !kernelHasRing
      ? `there is none: ${KERNEL_WITHOUT_RING}`
      : howToCreate[other]
  return new DirtyRateError('ERR_MODE_UNAVAILABLE', message, {
    hint: `For ${mode}, ${how}; 'auto' is the exact mode of any VM.`,
  })
}

/** The error ERR_UNSUPPORTED, which says that no VM can have dirty rings on this kernel. */
export function ringUnsupported(): DirtyRateError {
  return new DirtyRateError('ERR_UNSUPPORTED', `mode dirty-ring: ${KERNEL_WITHOUT_RING}`, {
    hint: "Use 'auto' or dirty-bitmap, which is as exact.",
  })
}
