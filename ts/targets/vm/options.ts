/**
 * The words of target URIs, each with its meaning: workloads, and options with their values.
 * Targets are checked with these lists, and the help, the completion and the page of targets are
 * made from them.
 */

import type { TargetOption } from '../scheme.js'
import { manualProtects, unknownMmios } from './create-options.js'
import type { KernelImage } from './kernel-image.js'
import type { WorkloadKind, WorkloadOptions } from './workload.js'

/** What each workload writes. */
export const WORKLOADS: Readonly<Record<WorkloadKind, string>> = {
  stride: 'every page of its working set in order, over and over',
  random: 'pages at random, where each page is as likely as any other',
  'hot-cold': 'a tenth of its pages with nine of ten writes, all other pages with the rest',
  silent: 'the same pages as stride, but always the same value: page sampling does not see that',
  idle: 'nothing',
}

/** The options of `guest:` that say what the guest writes. */
export const GUEST_OPTIONS: Readonly<Record<keyof WorkloadOptions, TargetOption>> = {
  pages: {
    value: 'N',
    default: '100 MiB of pages',
    meaning: "how many pages the guest writes, in the host's page size, all vCPUs together",
  },
  rate: {
    value: 'RATE',
    default: 'as fast as it can',
    meaning: 'the pace of the writes, such as 100MiB/s',
  },
  pacing: {
    value: 'host|clock',
    default: 'host',
    meaning: "what keeps the rate: the host, which grants writes, or the guest's own clock",
  },
  granted: {
    value: 'on|off',
    default: 'off',
    meaning: 'on: the guest writes only what vm.workload.grant() allows',
  },
  sharing: {
    value: 'split|shared',
    default: 'split',
    meaning: 'shared: each vCPU writes all pages, instead of its own part of them',
  },
  placement: {
    value: 'packed|spread|even',
    default: 'packed',
    meaning: 'spread: the pages lie at the ends of all RAM blocks; even: at the ends of all GiB',
  },
  seed: { value: 'N', default: '1', meaning: 'makes the pages of random and hot-cold repeatable' },
}

/** The options of `kernel:` that say what is booted. */
export const KERNEL_OPTIONS: Readonly<Record<Exclude<keyof KernelImage, 'kernel'>, TargetOption>> =
  {
    initrd: { value: 'FILE', meaning: 'the initrd of a Linux kernel' },
    cmdline: { value: 'TEXT', meaning: 'the command line of the kernel' },
  }

/** The options that every scheme of our own VMs has. */
export const MACHINE_OPTIONS: Readonly<Record<string, TargetOption>> = {
  memory: {
    value: 'SIZE',
    default: '1GiB',
    meaning: 'the RAM, or blocks of it: low@0B+2GiB:high@8GiB+2GiB',
  },
  vcpus: { value: 'N', default: '1', meaning: 'the number of vCPUs' },
  log: { value: 'bitmap|ring', default: 'the one that the mode needs', meaning: 'the dirty log' },
  'ring-entries': {
    value: 'N',
    default: '65536, or the most that the kernel has',
    meaning: "the entries of each vCPU's dirty ring, a power of two",
  },
  'manual-protect': {
    value: 'HOW',
    choices: manualProtects,
    default: 'auto',
    meaning: 'how KVM protects pages again, with log=bitmap; auto is the best that the kernel has',
  },
  'unknown-mmio': {
    value: 'HOW',
    choices: unknownMmios,
    default: 'auto',
    meaning: 'what an access to an address without a device does; stop is a crash of the guest',
  },
  'clear-chunk': {
    value: 'SIZE',
    default: '1GiB',
    meaning: 'how much memory one CLEAR protects again, and so how long a vCPU can wait for it',
  },
}
