/** What a VM runs as the options of a target URI, and those options as what a VM runs: each the opposite of the other. */

import { parseChoice, parseCountText } from '../../ground/arguments.js'
import { formatRate, parseRate } from '../../ground/units.js'
import type { Given } from '../scheme.js'
import type { TargetUri } from '../uri.js'
import type { KernelImage } from './kernel-image.js'
import {
  defaultPages,
  makeWorkload,
  type Workload,
  type WorkloadKind,
  type WorkloadOptions,
} from './workload.js'

/** What a target URI says of an image; that of the machine comes behind it. */
export type ImageUri = Pick<TargetUri, 'scheme' | 'name'> & { options: [key: string, value: string][] }

/** `guest` as a target URI has it. */
export function uriOfWorkload(guest: Workload): ImageUri {
  const { kind, pages, pacing, bytesPerSecond, sharing, placement, seed } = guest
  const options: ImageUri['options'] = []
  if (kind !== 'idle') options.push(['pages', String(pages)])
  if (bytesPerSecond !== undefined) options.push(['rate', formatRate(bytesPerSecond)])
  if (pacing === 'clock') options.push(['pacing', 'clock'])
  else if (pacing === 'granted' && bytesPerSecond === undefined) options.push(['granted', 'on'])
  if (sharing !== 'split') options.push(['sharing', sharing])
  if (placement !== 'packed') options.push(['placement', placement])
  if (seed !== undefined) options.push(['seed', String(seed)])
  return { scheme: 'guest', name: kind, options }
}

/** The workload that a URI's options make. Throws ERR_ARGUMENT. */
export function workloadOfUri(kind: WorkloadKind, given: Given): Workload {
  const { pages, rate, pacing, granted, sharing, placement, seed, vcpus = '1' } = given
  // Each vCPU takes a page at least.
  const fewest = kind === 'idle' ? 0 : Math.max(1, parseCountText(vcpus, 'vcpus', 1))
  return makeWorkload(kind, {
    pages:
      pages !== undefined
        ? parseCountText(pages, 'pages', 0, undefined, fewest)
        : kind === 'idle'
          ? 0
          : defaultPages(),
    rate: rate === undefined ? undefined : parseRate(rate, 'rate'),
    pacing: pacing as WorkloadOptions['pacing'],
    granted: granted === undefined ? undefined : parseChoice(granted, 'granted', ['on', 'off']) === 'on',
    sharing: sharing as Workload['sharing'] | undefined,
    placement: placement as Workload['placement'] | undefined,
    seed: seed === undefined ? undefined : parseCountText(seed, 'seed', 0),
  })
}

/** `image` as a target URI has it. */
export function uriOfKernel({ kernel, initrd, cmdline }: KernelImage): ImageUri {
  const options: ImageUri['options'] = []
  if (initrd !== undefined) options.push(['initrd', initrd])
  if (cmdline !== undefined) options.push(['cmdline', cmdline])
  return { scheme: 'kernel', name: kernel, options }
}

/** The kernel that a URI names. */
export function kernelOfUri(name: string, { initrd, cmdline }: Given): KernelImage {
  return { kernel: name, initrd, cmdline }
}
