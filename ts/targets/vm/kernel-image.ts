/**
 * Checks the options of a kernel that is booted from a file, and converts them to the form of the
 * binding.
 */

import { type OptionNames, parseOptions, parseText, show } from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'

/**
 * The files of a kernel. The kernel is an ELF with a PVH entry or a Linux bzImage, and on arm64 an
 * ELF or a Linux Image. A Linux sees all vCPUs. The VM ends when it powers off or resets.
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

/**
 * Checks the options, but not the files, which are checked when they are loaded. Throws
 * ERR_ARGUMENT.
 */
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
