/**
 * The options of target URIs, each with its value and its meaning. Targets are checked with this
 * list, and the command's help prints it.
 */

import type { TargetOption } from '../scheme.js'
import { manualProtects, unknownMmios } from './create-options.js'
import type { KernelImage } from './kernel-image.js'
import type { WorkloadOptions } from './workload.js'

/** The options of `guest:` about what the guest writes. */
export const GUEST_OPTIONS: Readonly<Record<keyof WorkloadOptions, TargetOption>> = {
  pages: { value: 'N', meaning: "the pages that the guest writes (default: 100 MiB of the host's)" },
  rate: { value: 'RATE', meaning: 'the pace of the writes, such as 100MiB/s (default: as fast as it can)' },
  pacing: { value: 'host|clock', meaning: 'clock: the guest keeps the rate by its own clock' },
  granted: { value: 'on|off', meaning: 'on: the guest writes only what vm.workload.grant() allows' },
  sharing: { value: 'split|shared', meaning: 'shared: each vCPU writes all pages, not a share of them' },
  placement: { value: 'packed|spread', meaning: 'spread: the pages lie at the ends of all RAM blocks' },
  seed: { value: 'N', meaning: 'makes random pages repeatable' },
}

/** The options of `kernel:` about what is booted. */
export const KERNEL_OPTIONS: Readonly<Record<Exclude<keyof KernelImage, 'kernel'>, TargetOption>> = {
  initrd: { value: 'FILE', meaning: 'the initrd of a Linux' },
  cmdline: { value: 'TEXT', meaning: 'the command line of the kernel' },
}

/** The options that every scheme of our own VMs has. */
export const MACHINE_OPTIONS: Readonly<Record<string, TargetOption>> = {
  memory: {
    value: 'SIZE',
    meaning: 'the RAM (default: 1GiB), or blocks of it: low@0B+2GiB:high@8GiB+2GiB',
  },
  vcpus: { value: 'N', meaning: 'the vCPUs (default: 1)' },
  log: { value: 'bitmap|ring', meaning: 'the dirty log (default: the one that --mode needs)' },
  'ring-entries': { value: 'N', meaning: 'the entries of each dirty ring, a power of two' },
  'manual-protect': {
    value: 'HOW',
    meaning: `what KVM does for CLEAR, with log=bitmap: ${manualProtects.join(', ')}`,
  },
  'unknown-mmio': {
    value: 'HOW',
    meaning: `what an access to an address without a device does: ${unknownMmios.join(', ')}`,
  },
  'clear-chunk': { value: 'SIZE', meaning: 'how much memory one CLEAR covers (default: 1GiB)' },
}
