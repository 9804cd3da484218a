/** Guests with a known answer: what they write, how fast, and the handle on the one that runs in a VM. */

import { untilAborted } from '../../ground/abort.js'
import {
  type OptionNames,
  type OwnUint8Array,
  parseChoice,
  parseCount,
  parseObject,
  parseOptions,
  refuseUnknown,
  SIGNAL,
} from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'
import {
  type CancelToken,
  callNative,
  type NativeVirtualMachine,
  type NativeWorkloadOptions,
  native,
} from '../../ground/native.js'
import { parseRate, type Rate, type Size } from '../../ground/units.js'
import type { Truth } from '../../results/truth.js'
import type { Block } from './memory.js'
import { parseMemory, type RamBlock } from './memory.js'
import type { WorkloadInstant } from './reports.js'

/** The names of all built-in guests. */
export const workloadKinds: readonly WorkloadKind[] = ['stride', 'random', 'hot-cold', 'silent', 'idle']
/** The name of a built-in guest, which says how it writes its memory. */
export type WorkloadKind = 'stride' | 'random' | 'hot-cold' | 'silent' | 'idle'

/** The working set of a guest whose `pages` are not given. */
const DEFAULT_BYTES = 100 * 2 ** 20

/** {@link DEFAULT_BYTES} in the host's pages: 25,600 of 4 KiB. Throws ERR_NATIVE_LOAD. */
export function defaultPages(): number {
  return DEFAULT_BYTES / callNative(() => native().hostPageSize())
}

/** How a guest writes. Page counts are of the host's pages: 4096 bytes, on some arm64 hosts 16 or 64 KiB. */
export interface WorkloadOptions {
  /** The working set, all vCPUs together. */
  pages: number
  /** How much it writes, all vCPUs together. Without it the guest writes as fast as it can. */
  rate?: Rate | undefined
  /**
   * What keeps the rate. `host` (default): a native thread grants writes while the VM runs. `clock`: the guest itself, by the TSC or the
   * counter of arm64. It needs no host, and after a time in which it did not run it makes up for up to a second.
   */
  pacing?: 'host' | 'clock' | undefined
  /** The guest writes only what `vm.workload.grant()` allows. Not together with `rate`. */
  granted?: boolean | undefined
  /** `split` (default): each vCPU has its own share of the pages; `shared`: every vCPU writes all of them. */
  sharing?: 'split' | 'shared' | undefined
  /** `packed` (default): from the first free address up; `spread`: over the ends of all RAM blocks. */
  placement?: 'packed' | 'spread' | undefined
  /** Makes `random` and `hot-cold` repeatable; a whole number below 2^32. */
  seed?: number | undefined
}

/** A guest program, to be given to `vm.load()`. Made by {@link workload}. */
export interface Workload {
  readonly kind: WorkloadKind
  readonly pages: number
  readonly pacing: 'free' | 'granted' | 'clock'
  readonly bytesPerSecond?: number
  readonly sharing: 'split' | 'shared'
  readonly placement: 'packed' | 'spread'
  readonly seed?: number
}

const WORKLOAD: OptionNames<WorkloadOptions> = {
  pages: true,
  rate: true,
  pacing: true,
  granted: true,
  sharing: true,
  placement: true,
  seed: true,
}

/** What {@link makeWorkload} gives. */
const MADE: OptionNames<Workload> = {
  kind: true,
  pages: true,
  pacing: true,
  bytesPerSecond: true,
  sharing: true,
  placement: true,
  seed: true,
}

/** The machine of {@link buildGuest}. */
export interface GuestMachine {
  memory: Size | readonly Block[]
  /** Default 1. */
  vcpus?: number | undefined
}

const MACHINE: OptionNames<GuestMachine> = { memory: true, vcpus: true }

const SHARINGS = ['split', 'shared'] as const
const PLACEMENTS = ['packed', 'spread'] as const
const PACINGS = ['host', 'clock'] as const

/** The options that some guests have no use for. */
const UNUSED: Partial<Record<WorkloadKind, readonly (keyof WorkloadOptions)[]>> = {
  stride: ['seed'],
  silent: ['seed'],
  idle: ['rate', 'pacing', 'granted', 'sharing', 'placement', 'seed'],
}

/** The options that this guest has a use for. */
export function optionsOf(kind: WorkloadKind): string[] {
  const unused: readonly string[] = UNUSED[kind] ?? []
  return Object.keys(WORKLOAD).filter(
    name => !unused.includes(name) && !(kind === 'idle' && name === 'pages'),
  )
}

/** Checks the options of a workload by name; one that the guest would ignore is refused. Throws ERR_ARGUMENT. */
export function makeWorkload(kind: WorkloadKind, options: WorkloadOptions): Workload {
  const known = parseChoice(kind, 'workload', workloadKinds)
  parseObject(options, 'options', '{ pages: 25600 }')
  refuseUnknown(options, WORKLOAD, 'options', optionsOf(known))
  const pages = parseCount(options.pages, 'pages', known === 'idle' ? 0 : 1)
  const unused = UNUSED[known]?.find(name => options[name] !== undefined)
  if (unused !== undefined || (known === 'idle' && pages > 0)) {
    throw argumentError(`${unused ?? 'pages'}: of no use to the workload '${known}'`, 'Leave it out.')
  }
  if (options.rate !== undefined && options.granted) {
    throw argumentError('granted: a workload with a rate writes by that', 'Leave out rate or granted.')
  }
  return Object.freeze({
    kind: known,
    pages,
    ...paceOf(options),
    sharing: parseChoice(options.sharing ?? 'split', 'sharing', SHARINGS),
    placement: parseChoice(options.placement ?? 'packed', 'placement', PLACEMENTS),
    ...(options.seed === undefined ? {} : { seed: parseCount(options.seed, 'seed', 0, 2 ** 32 - 1) }),
  })
}

/** Who says when a guest with these options writes, and how much. Throws ERR_ARGUMENT. */
function paceOf({
  rate,
  pacing,
  granted,
}: WorkloadOptions): Pick<Workload, 'pacing'> & { bytesPerSecond?: number } {
  const keeper = pacing === undefined ? 'host' : parseChoice(pacing, 'pacing', PACINGS)
  if (rate === undefined) {
    if (pacing !== undefined)
      throw argumentError('pacing: there is no rate to keep', 'Give rate too, or leave out pacing.')
    return { pacing: granted ? 'granted' : 'free' }
  }
  const bytesPerSecond = parseRate(rate, 'rate')
  return keeper === 'host' ? { pacing: 'granted', bytesPerSecond } : byClock(bytesPerSecond)
}

/** A rate that the guest itself keeps, in whole bytes. Throws ERR_ARGUMENT. */
function byClock(bytesPerSecond: number): { pacing: 'clock'; bytesPerSecond: number } {
  if (bytesPerSecond >= 1) return { pacing: 'clock', bytesPerSecond }
  throw argumentError('rate: a guest keeps no rate below 1B/s by its clock', 'Give a higher rate.')
}

/**
 * The built-in guests. Each throws ERR_ARGUMENT.
 *
 * @example
 * ```ts
 * import { VirtualMachine, workload } from 'dirtyrate'
 *
 * const vm = await VirtualMachine.create({ memory: '256MiB' })
 * try {
 *   await vm.load(workload.random({ pages: 10_000, seed: 7 }))
 *   await vm.start()
 * } finally {
 *   await vm.close()
 * }
 * ```
 */
export const workload: {
  /** Writes its pages one after the other, round and round. */
  stride(options: WorkloadOptions): Workload
  /** Writes pages drawn uniformly at random from its working set. */
  random(options: WorkloadOptions): Workload
  /** Writes a small part of its working set most of the time. */
  hotCold(options: WorkloadOptions): Workload
  /** Writes to each page the value that it already has: dirty for KVM, invisible to page sampling. */
  silent(options: WorkloadOptions): Workload
  /** Writes nothing. */
  idle(): Workload
} = {
  stride: options => makeWorkload('stride', options),
  random: options => makeWorkload('random', options),
  hotCold: options => makeWorkload('hot-cold', options),
  silent: options => makeWorkload('silent', options),
  // The types let nothing be given; what a program gives even so is refused.
  idle: (options: Partial<WorkloadOptions> = {}) =>
    makeWorkload('idle', { pages: 0, ...parseObject(options, 'options', 'nothing') }),
}

/** Whether `image` came from {@link workload}, as against a kernel's file names. */
export function isWorkload(image: unknown): image is Workload {
  return typeof image === 'object' && image !== null && 'kind' in image
}

/** A workload as the binding takes it, for a VM of `vcpus`. */
export function toNative(guest: Workload, vcpus: number): NativeWorkloadOptions {
  const { kind, pages, pacing, sharing, placement, bytesPerSecond, seed } = parseOptions(
    guest,
    MADE,
    'workload',
  )
  return {
    kind: parseChoice(kind, 'workload', workloadKinds),
    // An idle guest writes none, but to the binding every vCPU of a program has a working set.
    pages: parseCount(kind === 'idle' ? Math.max(pages, vcpus) : pages, 'pages', 1),
    vcpus,
    pacing: parseChoice(pacing, 'pacing', ['free', 'granted', 'clock']),
    sharing: parseChoice(sharing, 'sharing', SHARINGS),
    placement: parseChoice(placement, 'placement', PLACEMENTS),
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
    ...(seed === undefined ? {} : { seed }),
  }
}

/**
 * The guest as an ELF, its parameters inside; it boots in `vm.load({ kernel })` and with QEMU's `-kernel` on this architecture (PVH on
 * x86-64). `memory` is that of the machine it will run in; QEMU's `virt` has it from 1 GiB on. Where it runs there is no host that paces
 * it, so a rate is kept by the guest's own clock. Needs no KVM. Throws ERR_ARGUMENT.
 *
 * @example
 * ```ts
 * import { buildGuest, workload } from 'dirtyrate'
 *
 * const memory = [{ name: 'ram', guestAddress: process.arch === 'arm64' ? '1GiB' : 0, bytes: '256MiB' }]
 * const elf = buildGuest(workload.stride({ pages: 1000 }), { memory })
 * console.log(elf.byteLength)
 * ```
 */
export function buildGuest(guest: Workload, machine: GuestMachine): OwnUint8Array {
  if (!isWorkload(guest))
    throw argumentError('guest: not a workload', 'Give workload.stride({ pages: 25600 }).')
  const vcpus = parseCount(
    parseOptions(machine, MACHINE, 'machine', "{ memory: '1GiB' }").vcpus ?? 1,
    'vcpus',
    1,
  )
  const ram: RamBlock[] = parseMemory(machine.memory)
  const { bytesPerSecond } = guest
  const alone = bytesPerSecond === undefined ? guest : { ...guest, ...byClock(bytesPerSecond) }
  return callNative(() => native().buildGuest(toNative(alone, vcpus), ram)) as OwnUint8Array
}

/** Throws ERR_ARGUMENT for an object that `instant()` did not give. */
function parseInstant(instant: WorkloadInstant, name: string): void {
  const { writes, budgets, grants } = parseObject(instant, name, 'what instant() gave')
  if (!Array.isArray(writes) || !Array.isArray(budgets) || typeof grants !== 'number') {
    throw argumentError(
      `${name}: not what instant() gave`,
      'Give an object that vm.workload.instant() returned.',
    )
  }
}

/**
 * The workload of a VM: the host's side of its mailboxes.
 *
 * @example
 * ```ts
 * import { VirtualMachine, workload } from 'dirtyrate'
 *
 * const vm = await VirtualMachine.create({ memory: '256MiB' })
 * try {
 *   await vm.load(workload.stride({ pages: 1000, granted: true }))
 *   await vm.start()
 *   const guest = vm.workload
 *   if (guest === undefined) throw new Error('a workload was loaded')
 *   const from = guest.instant()
 *   guest.grant(100)
 *   await guest.settled()
 *   console.log(await guest.truth(from, guest.instant())) // 100 pages, and two of counters
 * } finally {
 *   await vm.close()
 * }
 * ```
 */
export class RunningWorkload {
  /** What was loaded. */
  readonly workload: Workload
  readonly #vm: NativeVirtualMachine
  readonly #newToken: () => CancelToken

  /** @internal */
  constructor(guest: Workload, vm: NativeVirtualMachine, newToken: () => CancelToken) {
    this.workload = guest
    this.#vm = vm
    this.#newToken = newToken
  }

  /** Lets each vCPU make `writes` more writes. A host write to the control page, which counts as dirty. Throws ERR_ARGUMENT, ERR_STATE. */
  grant(writes: number): void {
    parseCount(writes, 'writes', 1)
    callNative(() => this.#vm.grant(writes))
  }

  /** Resolves when every granted write is made. Rejects with the signal's reason when aborted, and as a crash or close does. */
  async settled(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    await untilAborted(parseOptions(options, SIGNAL).signal, this.#newToken(), token =>
      callNative(() => this.#vm.settled(token)),
    )
  }

  /** Reads the counters. */
  instant(): WorkloadInstant {
    return callNative(() => this.#vm.instant())
  }

  /** What was written between two instants, exact when the guest was settled at both. */
  async truth(from: WorkloadInstant, to: WorkloadInstant): Promise<Truth> {
    parseInstant(from, 'from')
    parseInstant(to, 'to')
    return callNative(() => this.#vm.truth(from, to))
  }

  /** Whether the pages' contents bear the counters out: null, or what differs. The guest has to stand still: paused, or settled. */
  async confirmContents(): Promise<string | null> {
    return callNative(() => this.#vm.confirmContents())
  }
}
