/** A kernel that is booted from a file: what a caller says about it, checked and in the form that the binding takes. */

import { type OptionNames, parseOptions, parseText, show } from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'

/**
 * An ELF with a PVH entry, or a Linux bzImage, by file name; on arm64 an ELF, or a Linux Image. A Linux sees all vCPUs, and ends the VM by
 * powering off or by a reset.
 */
export interface KernelImage {
  kernel: string
  initrd?: string | undefined
  cmdline?: string | undefined
}

/** A {@link KernelImage} without the options that were not given. */
interface KernelFiles {
  kernel: string
  initrd?: string
  cmdline?: string
}

const KERNEL: OptionNames<KernelImage> = { kernel: true, initrd: true, cmdline: true }

/** Throws ERR_ARGUMENT, which names what is wrong. The files themselves are looked at when they are loaded. */
export function parseKernel(image: KernelImage): KernelFiles {
  const { kernel, initrd, cmdline } = image ?? {}
  if (typeof kernel !== 'string' || kernel === '') {
    throw argumentError(
      'load: neither a workload nor a kernel',
      "Give workload.stride({ pages: 25600 }) or { kernel: 'FILE' }.",
    )
  }
  parseOptions(image, KERNEL, 'load')
  if (initrd !== undefined) parseText(initrd, 'initrd')
  if (cmdline !== undefined && typeof cmdline !== 'string') {
    throw argumentError(`cmdline: ${show(cmdline)} is not a string`)
  }
  return {
    kernel,
    ...(initrd === undefined ? {} : { initrd }),
    ...(cmdline === undefined ? {} : { cmdline }),
  }
}
