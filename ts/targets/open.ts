/**
 * The table of schemes. A kind of target is added here by one row, and by a folder beside this
 * file.
 */

import { makeLibvirtScheme } from './libvirt/scheme.js'
import type { ProcessTarget } from './process/process-target.js'
import { openProcessTarget, processScheme } from './process/scheme.js'
import type { QmpTarget } from './qmp/qmp-target.js'
import { qmpScheme } from './qmp/scheme.js'
import { checker, type OpenOptions, opener, type Scheme } from './scheme.js'
import type { Target } from './target.js'
import { guestScheme, kernelScheme } from './vm/schemes.js'
import type { VirtualMachine } from './vm/virtual-machine.js'

/** Every scheme. */
export const schemes: readonly Scheme[] = [
  guestScheme,
  kernelScheme,
  qmpScheme,
  makeLibvirtScheme((pid, uri, signal) => openProcessTarget({ pid, uri }, signal)),
  processScheme,
]

/** What the schemes open. */
export interface SchemeTargets {
  guest: VirtualMachine
  kernel: VirtualMachine
  qmp: QmpTarget
  libvirt: Target
  pid: ProcessTarget
}

/** The type of the target that a URI opens, as far as the type of the URI says it. */
export type TargetOf<Uri extends string> = Uri extends `${infer Name}:${string}`
  ? Name extends keyof SchemeTargets
    ? SchemeTargets[Name]
    : Target
  : Target

const open = opener(schemes)

/**
 * Throws ERR_ARGUMENT if `uri` cannot name a target, whatever is there.
 *
 * @internal
 */
export const checkTarget: (uri: string) => void = checker(schemes)

/**
 * Opens the VM that `uri` names. `qmp:SOCKET`, `libvirt:DOMAIN` and `pid:N` are VMs of others,
 * which go on after `close()`. `guest:WORKLOAD` is a new VM with a built-in workload, and
 * `kernel:FILE` one that boots a PVH ELF or a bzImage; on arm64 an ELF or an Image, with RAM from 1
 * GiB on, as in QEMU's `virt`. A new VM is started, and ends with `close()`. `docs/targets.md` has
 * the options of each.
 *
 * Rejects with ERR_ARGUMENT, which lists what exists. For a VM of others it rejects with
 * ERR_TARGET_ABSENT, ERR_TARGET_PERMISSION, ERR_TARGET_GONE, ERR_TARGET_TIMEOUT, ERR_QMP_BUSY,
 * ERR_QMP_PROTOCOL, ERR_LIBVIRT_SOCKET or ERR_PROGRAM_ABSENT, and for a new VM as `VirtualMachine`
 * does: with ERR_MODE_UNAVAILABLE if the log that the URI names cannot do `options.mode`, and with
 * ERR_UNSUPPORTED if no VM on this kernel can. On a kernel without rings `log=ring` gives the
 * bitmap, and each exact measurement has a warning that says so.
 *
 * @example
 * ```ts
 * import { openTarget } from 'dirtyrate'
 *
 * const target = await openTarget('guest:hot-cold,pages=25600,rate=200MiB/s')
 * try {
 *   const { pages, bytesPerSecond } = await target.measureDirtyRate({ window: '200ms' })
 *   console.log(pages, bytesPerSecond)
 * } finally {
 *   await target.close()
 * }
 * ```
 */
export function openTarget<Uri extends string>(
  uri: Uri,
  options: OpenOptions = {},
): Promise<TargetOf<Uri>> {
  // SchemeTargets has the type of the target for each scheme.
  return open(uri, options) as Promise<TargetOf<Uri>>
}
