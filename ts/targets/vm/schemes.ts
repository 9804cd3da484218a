/** The schemes of our own VMs: `guest:` has a built-in workload, `kernel:` boots a file. */

import { existsSync } from 'node:fs'
import { parseChoice, parseCountText, show } from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'
import { isSocketFile } from '../../ground/socket-file.js'
import { knownNames } from '../../ground/suggest.js'
import { parseMode, type WantedMode } from '../../measurement/mode.js'
import type { Given, OpenOptions, Scheme } from '../scheme.js'
import { capabilities } from './capabilities.js'
import type { CreateOptions } from './create-options.js'
import { refuseManualProtect, requirePowerOfTwo } from './create-options.js'
import { kernelOfUri, workloadOfUri } from './images.js'
import type { KernelImage } from './kernel-image.js'
import { creationOfUri, memoryOfUri } from './machine.js'
import { memoryForKernel } from './memory.js'
import { type DirtyLogKind, modesOf, modeUnavailable, ringUnsupported } from './modes.js'
import { GUEST_OPTIONS, KERNEL_OPTIONS, MACHINE_OPTIONS, WORKLOADS } from './options.js'
import { VirtualMachine } from './virtual-machine.js'
import { optionsOf, type Workload, type WorkloadKind, workloadKinds } from './workload.js'

const DEFAULT_MEMORY = '1GiB'
/**
 * The default length of a target's rings, unless the kernel allows only shorter ones. Entries have
 * 16 bytes, so a ring takes 1 MiB.
 */
export const DEFAULT_RING_ENTRIES = 65_536

/** A VM with a built-in workload. */
export const guestScheme: Scheme<VirtualMachine> = {
  name: 'guest',
  operand: 'WORKLOAD',
  makesVm: true,
  operands: WORKLOADS,
  about: 'a virtual machine with a built-in guest, which counts its own writes',
  options: GUEST_OPTIONS,
  common: MACHINE_OPTIONS,
  useful: ({ name }) => optionsOf(workloadKind(name)),
  async open({ name }, given, options) {
    const kind = workloadKind(name)
    const memory = memoryOfUri(given.memory ?? DEFAULT_MEMORY)
    return startVm(given, memory, workloadOfUri(kind, given), options)
  },
}

/** A VM with a kernel from a file. */
export const kernelScheme: Scheme<VirtualMachine> = {
  name: 'kernel',
  operand: 'FILE',
  makesVm: true,
  about: 'a virtual machine that boots a kernel from a file',
  options: KERNEL_OPTIONS,
  common: MACHINE_OPTIONS,
  adopt(text) {
    const [file = ''] = text.split(',', 1)
    // What begins with a word and a colon names another kind of target, whether or not that is
    // known.
    if (/^[\w+-]+:/.test(text)) return undefined
    if (isSocketFile(file)) return undefined
    return file.includes('/') || existsSync(file) ? `kernel:${text}` : undefined
  },
  async open({ name }, given, options) {
    const image = kernelOfUri(name, given)
    const memory = memoryOfUri(given.memory ?? DEFAULT_MEMORY)
    return startVm(
      given,
      typeof memory === 'string' ? memoryForKernel(memory) : memory,
      image,
      options,
    )
  },
}

function workloadKind(name: string): WorkloadKind {
  const kind = workloadKinds.find(known => known === name)
  if (kind === undefined)
    throw argumentError(
      `target: the workload ${show(name)} is not known`,
      knownNames(name, workloadKinds),
    )
  return kind
}

async function startVm(
  given: Given,
  memory: CreateOptions['memory'],
  image: Workload | KernelImage,
  { signal, mode }: OpenOptions,
): Promise<VirtualMachine> {
  const dirtyLog = logOf(given, mode)
  const creation = creationOfUri(given)
  // This is checked here too, because options of a target have other names than options of the API.
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

/**
 * The log that the options name, or otherwise the log that `mode` needs. Throws ERR_ARGUMENT,
 * ERR_MODE_UNAVAILABLE, ERR_UNSUPPORTED.
 */
function logOf(given: Given, mode: WantedMode = 'auto'): NonNullable<CreateOptions['dirtyLog']> {
  const { log, 'ring-entries': entries } = given
  const wanted = parseMode(mode)
  const needed: DirtyLogKind = wanted === 'dirty-ring' || entries !== undefined ? 'ring' : 'bitmap'
  const kind = log === undefined ? needed : parseChoice(log, 'log', ['bitmap', 'ring'])
  if (kind === 'bitmap' && entries !== undefined) {
    throw argumentError('ring-entries: used only with log=ring', 'Leave it out, or give log=ring.')
  }
  if (wanted !== 'auto' && !modesOf(kind).includes(wanted))
    throw modeUnavailable(wanted, kind, true)
  if (kind === 'bitmap') return 'bitmap'
  const longest = capabilities().dirtyRingEntries
  // The VM would get the bitmap, which cannot do this mode, so it is not made.
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
