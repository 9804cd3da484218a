/** From a URI to a target that can be measured. One function per scheme. */

import { argumentError } from '../errors.js'
import { parseCountText, parseRate, parseSize } from '../units.js'
import { type KernelImage, VirtualMachine } from '../virtual-machine.js'
import { makeWorkload, type Workload, type WorkloadKind, workloadKinds } from '../workload.js'
import type { Target } from './target.js'
import { parseTargetUri, type TargetUri } from './uri.js'

/** The working set of a guest target that does not say: 100 MiB of 4 KiB pages. */
const DEFAULT_PAGES = 25_600
const DEFAULT_MEMORY = '1GiB'

const SCHEMES: Record<string, (uri: TargetUri, options: OpenOptions) => Promise<Target>> = {
  guest: openGuest,
  kernel: openKernel,
}

export interface OpenOptions {
  /** Ends the opening; the promise rejects with `signal.reason`. */
  signal?: AbortSignal
}

/**
 * Opens what `uri` names: `guest:WORKLOAD,pages=N,rate=R,memory=SIZE,vcpus=N,sharing=split|shared,placement=packed|spread,seed=N`, a VM
 * with a built-in workload, or `kernel:FILE,memory=SIZE,vcpus=N,initrd=FILE,cmdline=TEXT`, a VM with a PVH ELF. The VM is started, and
 * ends with `close()`. Rejects with ERR_ARGUMENT that lists what exists, and as `VirtualMachine` does.
 */
export async function openTarget(uri: string, options: OpenOptions = {}): Promise<Target> {
  const parsed = parseTargetUri(uri)
  const open = Object.hasOwn(SCHEMES, parsed.scheme) ? SCHEMES[parsed.scheme] : undefined
  if (open === undefined) {
    throw argumentError(
      `target: the scheme '${parsed.scheme}' is not known`,
      `Known: ${Object.keys(SCHEMES).join(', ')}.`,
    )
  }
  return open(parsed, options)
}

async function openGuest(uri: TargetUri, options: OpenOptions): Promise<Target> {
  const given = pick(uri, ['pages', 'rate', 'memory', 'vcpus', 'sharing', 'placement', 'seed'])
  const kind = workloadKinds.find(known => known === uri.name)
  if (kind === undefined) {
    throw argumentError(
      `target: the workload '${uri.name}' is not known`,
      `Known: ${workloadKinds.join(', ')}.`,
    )
  }
  return startVm(given, workloadOf(kind, given), options)
}

function workloadOf(kind: WorkloadKind, given: Given): Workload {
  const { pages, rate, sharing, placement, seed } = given
  return makeWorkload(kind, {
    pages: pages === undefined ? (kind === 'idle' ? 0 : DEFAULT_PAGES) : parseCountText(pages, 'pages', 0),
    ...(rate === undefined ? {} : { rate: parseRate(rate, 'rate') }),
    ...(sharing === undefined ? {} : { sharing: sharing as 'split' | 'shared' }),
    ...(placement === undefined ? {} : { placement: placement as 'packed' | 'spread' }),
    ...(seed === undefined ? {} : { seed: parseCountText(seed, 'seed', 0) }),
  })
}

async function openKernel(uri: TargetUri, options: OpenOptions): Promise<Target> {
  const given = pick(uri, ['memory', 'vcpus', 'initrd', 'cmdline'])
  const { initrd, cmdline } = given
  const image: KernelImage = {
    kernel: uri.name,
    ...(initrd === undefined ? {} : { initrd }),
    ...(cmdline === undefined ? {} : { cmdline }),
  }
  return startVm(given, image, options)
}

async function startVm(
  given: Given,
  image: Workload | KernelImage,
  { signal }: OpenOptions,
): Promise<Target> {
  const vm = await VirtualMachine.create({
    memory: parseSize(given.memory ?? DEFAULT_MEMORY, 'memory'),
    vcpus: parseCountText(given.vcpus ?? '1', 'vcpus', 1),
    ...(signal === undefined ? {} : { signal }),
  })
  try {
    await vm.load(image)
    signal?.throwIfAborted()
    await vm.start()
    signal?.throwIfAborted()
    return vm
  } catch (error) {
    await vm.close()
    throw error
  }
}

type Given = Partial<Record<string, string>>

/** The options of `uri`, all of them among `known`. */
function pick(uri: TargetUri, known: readonly string[]): Given {
  const unknown = [...uri.options.keys()].find(key => !known.includes(key))
  if (unknown !== undefined) {
    throw argumentError(
      `target: '${unknown}' is not an option of ${uri.scheme}:`,
      `Known: ${known.join(', ')}.`,
    )
  }
  return Object.fromEntries(uri.options)
}
