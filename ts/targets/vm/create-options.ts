/** Checks the options of a new VM, and converts them to the form of the binding. */

import { type OptionNames, parseChoice, parseCount, parseOptions } from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'
import type { NativeCreateOptions } from '../../ground/native.js'
import { parseSize, type Size } from '../../ground/units.js'
import { DEFAULT_HISTORY } from '../../measurement/history.js'
import { type Block, parseMemory, parseVcpus } from './memory.js'

/** How KVM protects pages again: see KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2. */
export type ManualProtect = 'none' | 'enable' | 'initially-set'

/** How {@link VirtualMachine.create} makes a VM. */
export interface CreateOptions {
  /**
   * The RAM: a size, which is laid out around the hole below 4 GiB, or blocks of your own. Sizes
   * and addresses are multiples of the page size.
   */
  memory: Size | readonly Block[]
  /** How many vCPUs there are. Default 1; at most `capabilities().vcpus`. */
  vcpus?: number | undefined
  /**
   * The VM's dirty log: KVM's dirty bitmap (`auto`, the default), or a dirty ring for each vCPU.
   * The number of a ring's entries is a power of two. On a kernel without rings the VM gets the
   * bitmap, as in QEMU: `vm.dirtyLog` says so, and so does a warning of each exact measurement.
   */
  dirtyLog?: 'auto' | 'bitmap' | { ringEntries: number } | undefined
  /** How many of the last measurements `vm.history` keeps. Default 100. */
  historySize?: number | undefined
  /** How KVM protects pages again. Default `auto`, which is the best that the kernel has. */
  manualProtect?: 'auto' | ManualProtect | undefined
  /**
   * What happens when the guest accesses an address without a device: `stop` is a crash, `ignore`
   * reads ones and drops writes. `auto` (default) is `ignore` for a kernel, because kernels look
   * for devices that do not exist, and `stop` for a built-in guest. I/O ports without a device
   * always read ones.
   */
  unknownMmio?: 'auto' | 'stop' | 'ignore' | undefined
  /**
   * How much guest memory one CLEAR covers. A faulting vCPU waits for at most one CLEAR. Default 1
   * GiB.
   */
  clearChunk?: Size | undefined
  /** Default /dev/kvm. */
  kvmPath?: string | undefined
  /**
   * With `run` (default) a thread empties the dirty rings while the guest runs. With `hold`, for
   * tests, they are emptied only when a ring is full and at a sync.
   */
  reaper?: 'run' | 'hold' | undefined
  signal?: AbortSignal | undefined
}

/** The names of all options. */
export const CREATE: OptionNames<CreateOptions> = {
  memory: true,
  vcpus: true,
  dirtyLog: true,
  historySize: true,
  manualProtect: true,
  unknownMmio: true,
  clearChunk: true,
  kvmPath: true,
  reaper: true,
  signal: true,
}

const RING: OptionNames<{ ringEntries: number }> = { ringEntries: true }

/** The choices of `manualProtect`. */
export const manualProtects = ['auto', 'none', 'enable', 'initially-set'] as const
/** The choices of `unknownMmio`. */
export const unknownMmios = ['auto', 'stop', 'ignore'] as const

const LONGEST_HISTORY = 1_000_000

/** Throws ERR_ARGUMENT. */
export function parseHistorySize(size: number = DEFAULT_HISTORY): number {
  return parseCount(size, 'historySize', 0, LONGEST_HISTORY)
}

/** Checks and converts all options. Throws ERR_ARGUMENT, which names the option. */
export function parseCreate(options: CreateOptions): NativeCreateOptions {
  const { kvmPath, clearChunk, reaper } = options
  const ringEntries = parseDirtyLog(options.dirtyLog ?? 'auto')
  if (ringEntries !== undefined) refuseManualProtect(options.manualProtect)
  const manualProtect = parseChoice(
    options.manualProtect ?? 'auto',
    'manualProtect',
    manualProtects,
  )
  return {
    blocks: parseMemory(options.memory),
    vcpus: parseVcpus(options.vcpus ?? 1),
    ...(manualProtect === 'auto' ? {} : { manualProtect }),
    unknownMmio: parseChoice(options.unknownMmio ?? 'auto', 'unknownMmio', unknownMmios),
    ...(clearChunk === undefined ? {} : { clearChunkBytes: parseSize(clearChunk, 'clearChunk') }),
    ...(kvmPath === undefined ? {} : { kvmPath }),
    ...(ringEntries === undefined ? {} : { ringEntries }),
    ...(reaper === undefined ? {} : { reaper: parseChoice(reaper, 'reaper', ['run', 'hold']) }),
  }
}

/** The same options with the bitmap in place of rings, for a kernel without rings. */
export function withoutRings({
  ringEntries,
  reaper,
  ...rest
}: NativeCreateOptions): NativeCreateOptions {
  return rest
}

/** The number of a ring's entries; undefined for a bitmap, also for 'auto'. Throws ERR_ARGUMENT. */
function parseDirtyLog(dirtyLog: NonNullable<CreateOptions['dirtyLog']>): number | undefined {
  if (typeof dirtyLog !== 'object' || dirtyLog === null) {
    parseChoice(dirtyLog, 'dirtyLog', ['auto', 'bitmap'])
    return undefined
  }
  const { ringEntries } = parseOptions(dirtyLog, RING, 'dirtyLog', '{ ringEntries: 65536 }')
  return requirePowerOfTwo(parseCount(ringEntries, 'ringEntries', 1), 'ringEntries')
}

/**
 * Returns `entries` if it is a power of two. The kernel itself refuses a ring that is too short or
 * too long. Throws ERR_ARGUMENT, which calls the number `name`.
 */
export function requirePowerOfTwo(entries: number, name: string): number {
  if (!Number.isInteger(Math.log2(entries))) {
    throw argumentError(`${name}: ${entries} is not a power of two`, 'Give one, such as 65536.')
  }
  return entries
}

/**
 * Throws ERR_ARGUMENT, which calls the option `name`, if a VM with dirty rings would have to ignore
 * this choice.
 */
export function refuseManualProtect(
  choice: CreateOptions['manualProtect'],
  name = 'manualProtect',
): void {
  if (!['auto', 'none'].includes(choice ?? 'auto')) {
    throw argumentError(`${name}: a VM with dirty rings has no manual protect`, 'Leave it out.')
  }
}
