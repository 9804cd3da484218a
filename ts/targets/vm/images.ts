/** Converts the image that a VM runs to the options of a target URI, and back. */

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

/** The part of a target URI that is about the image. The part about the machine follows it. */
export type ImageUri = Pick<TargetUri, 'scheme' | 'name'> & {
  options: [key: string, value: string][]
}

/** `guest` in the form of a target URI. */
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

/** The workload that the options of a URI describe. Throws ERR_ARGUMENT. */
export function workloadOfUri(kind: WorkloadKind, given: Given): Workload {
  const { pages, rate, pacing, granted, sharing, placement, seed, vcpus = '1' } = given
  // Each vCPU needs at least one page.
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
    granted:
      granted === undefined ? undefined : parseChoice(granted, 'granted', ['on', 'off']) === 'on',
    sharing: sharing as Workload['sharing'] | undefined,
    placement: placement as Workload['placement'] | undefined,
    seed: seed === undefined ? undefined : parseCountText(seed, 'seed', 0),
  })
}

/** `image` in the form of a target URI. */
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
