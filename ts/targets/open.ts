/** From a URI to a target that can be measured. One function per scheme. */

import {
  type OptionNames,
  parseChoice,
  parseCountText,
  parseOptions,
  parseSignal,
} from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { knownNames } from '../ground/suggest.js'
import {
  type DirtyLogKind,
  modesOf,
  modeUnavailable,
  parseMode,
  ringUnsupported,
} from '../measurement/mode.js'
import type { Mode } from '../qapi/types.js'
import type { Target } from './target.js'
import { parseTargetUri, type TargetUri } from './uri.js'
import { capabilities } from './vm/capabilities.js'
import type { CreateOptions } from './vm/create-options.js'
import { refuseManualProtect, requirePowerOfTwo } from './vm/create-options.js'
import { type Given, kernelOfUri, workloadOfUri } from './vm/images.js'
import type { KernelImage } from './vm/kernel-image.js'
import { creationOfUri, memoryOfUri } from './vm/machine.js'
import { memoryForKernel } from './vm/memory.js'
import { GUEST_OPTIONS, KERNEL_OPTIONS, MACHINE_OPTIONS } from './vm/options.js'
import { VirtualMachine } from './vm/virtual-machine.js'
import { optionsOf, type Workload, workloadKinds } from './vm/workload.js'

const DEFAULT_MEMORY = '1GiB'
/** The ring of a target that does not say, or the longest that the kernel has: entries of 16 bytes, so 1 MiB per vCPU. */
export const DEFAULT_RING_ENTRIES = 65_536

const SCHEMES: Record<string, (uri: TargetUri, options: OpenOptions) => Promise<Target>> = {
  guest: openGuest,
  kernel: openKernel,
}

/** How {@link openTarget} opens a target. */
export interface OpenOptions {
  /** What it will be measured in: a VM that is made for this target gets the log that this needs, unless the URI says which. */
  mode?: Mode | 'auto' | undefined
  /** Ends the opening; the promise rejects with `signal.reason`. */
  signal?: AbortSignal | undefined
}

const OPEN: OptionNames<OpenOptions> = { mode: true, signal: true }

/**
 * Opens what `uri` names: `guest:WORKLOAD,pages=N,rate=R,granted=on|off,sharing=split|shared,placement=packed|spread,seed=N`, a VM with a
 * built-in workload, or `kernel:FILE,initrd=FILE,cmdline=TEXT`, a VM with a PVH ELF or a bzImage; on arm64 with an ELF or an Image, and RAM
 * from 1 GiB on, as in QEMU's `virt`. Both take `memory=SIZE`, or blocks as `memory=low@0B+2GiB:high@4GiB+2GiB`, `vcpus=N`,
 * `log=bitmap|ring` and `ring-entries=N`, and `manual-protect`, `unknown-mmio` and `clear-chunk` with the values that
 * `VirtualMachine.create` takes. The VM is started, and ends with `close()`. Rejects with ERR_ARGUMENT that lists what exists,
 * ERR_MODE_UNAVAILABLE when the log that the URI names cannot do `options.mode`, ERR_UNSUPPORTED when no VM can on this kernel, and as
 * `VirtualMachine` does. `log=ring` is the bitmap where the kernel has no ring, and each exact measurement has a warning that says so.
 */
export async function openTarget(uri: string, options: OpenOptions = {}): Promise<Target> {
  const parsed = parseTargetUri(uri)
  parseSignal(parseOptions(options, OPEN).signal)
  const open = Object.hasOwn(SCHEMES, parsed.scheme) ? SCHEMES[parsed.scheme] : undefined
  if (open === undefined) {
    throw argumentError(
      `target: the scheme '${parsed.scheme}' is not known`,
      knownNames(parsed.scheme, Object.keys(SCHEMES)),
    )
  }
  return open(parsed, options)
}

async function openGuest(uri: TargetUri, options: OpenOptions): Promise<Target> {
  const kind = workloadKinds.find(known => known === uri.name)
  if (kind === undefined) {
    throw argumentError(
      `target: the workload '${uri.name}' is not known`,
      knownNames(uri.name, workloadKinds),
    )
  }
  const given = pick(uri, GUEST_OPTIONS, optionsOf(kind))
  const memory = memoryOfUri(given.memory ?? DEFAULT_MEMORY)
  return startVm(given, memory, workloadOfUri(kind, given), options)
}

async function openKernel(uri: TargetUri, options: OpenOptions): Promise<Target> {
  const given = pick(uri, KERNEL_OPTIONS)
  const image = kernelOfUri(uri.name, given)
  const memory = memoryOfUri(given.memory ?? DEFAULT_MEMORY)
  return startVm(given, typeof memory === 'string' ? memoryForKernel(memory) : memory, image, options)
}

async function startVm(
  given: Given,
  memory: CreateOptions['memory'],
  image: Workload | KernelImage,
  { signal, mode }: OpenOptions,
): Promise<Target> {
  const dirtyLog = logOf(given, mode)
  const creation = creationOfUri(given)
  // Refused here too, because a target's options have names of their own.
  if (typeof dirtyLog === 'object') refuseManualProtect(creation.manualProtect, 'manual-protect')
  const vm = await VirtualMachine.create({
    dirtyLog,
    memory,
    vcpus: parseCountText(given.vcpus ?? '1', 'vcpus', 1),
    ...creation,
    ...(signal === undefined ? {} : { signal }),
  })
  try {
    await vm.load(image, { signal })
    await vm.start({ signal })
    return vm
  } catch (error) {
    await vm.close()
    throw error
  }
}

/** The log that the options name, or else that `mode` needs. Throws ERR_ARGUMENT, ERR_MODE_UNAVAILABLE, ERR_UNSUPPORTED. */
function logOf(given: Given, mode: Mode | 'auto' = 'auto'): NonNullable<CreateOptions['dirtyLog']> {
  const { log, 'ring-entries': entries } = given
  const wanted = parseMode(mode)
  const needed: DirtyLogKind = wanted === 'dirty-ring' || entries !== undefined ? 'ring' : 'bitmap'
  const kind = log === undefined ? needed : parseChoice(log, 'log', ['bitmap', 'ring'])
  if (kind === 'bitmap' && entries !== undefined) {
    throw argumentError('ring-entries: used only with log=ring', 'Leave it out, or give log=ring.')
  }
  if (wanted !== 'auto' && !modesOf(kind).includes(wanted)) throw modeUnavailable(wanted, kind, true)
  if (kind === 'bitmap') return 'bitmap'
  const longest = capabilities().dirtyRingEntries
  // The VM would have the bitmap, which cannot do that mode. So none is made.
  if (wanted === 'dirty-ring' && longest === 0) throw ringUnsupported()
  return {
    ringEntries:
      entries === undefined
        ? Math.min(DEFAULT_RING_ENTRIES, longest || DEFAULT_RING_ENTRIES)
        : requirePowerOfTwo(
            parseCountText(entries, 'ring-entries', 1, undefined, DEFAULT_RING_ENTRIES),
            'ring-entries',
          ),
  }
}

/**
 * Returns the options of `uri`. Throws ERR_ARGUMENT for an option that is neither in `own` nor one
 * of the machine. The hint proposes the machine's options and those that are `useful`, because a
 * workload ignores some of its scheme's options.
 */
function pick(uri: TargetUri, own: object, useful: readonly string[] = Object.keys(own)): Given {
  const known = { ...own, ...MACHINE_OPTIONS }
  const unknown = [...uri.options.keys()].find(key => !Object.hasOwn(known, key))
  if (unknown !== undefined) {
    throw argumentError(
      `target: '${unknown}' is not an option of ${uri.scheme}:`,
      knownNames(unknown, [...useful, ...Object.keys(MACHINE_OPTIONS)]),
    )
  }
  return Object.fromEntries(uri.options)
}
