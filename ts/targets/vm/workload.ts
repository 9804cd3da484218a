/**
 * Guests with a known answer: what they write, how fast, and the class of a guest that runs in a
 * VM.
 */

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
  type NativeGuestProgram,
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
export const workloadKinds: readonly WorkloadKind[] = [
  'stride',
  'random',
  'hot-cold',
  'silent',
  'idle',
]
/** The name of a built-in guest, which says how it writes its memory. */
export type WorkloadKind = 'stride' | 'random' | 'hot-cold' | 'silent' | 'idle'

/** The working set of a guest whose `pages` are not given. */
const DEFAULT_BYTES = 100 * 2 ** 20

/** {@link DEFAULT_BYTES} in the host's pages: 25,600 of 4 KiB. Throws ERR_NATIVE_LOAD. */
export function defaultPages(): number {
  return DEFAULT_BYTES / callNative(() => native().hostPageSize())
}

/**
 * How a guest writes. Pages have the host's page size, which is 4096 bytes, and on some arm64 hosts
 * 16 or 64 KiB.
 */
export interface WorkloadOptions {
  /** How many pages the guest writes, all vCPUs together. */
  pages: number
  /** How fast it writes, all vCPUs together. Without a rate the guest writes as fast as it can. */
  rate?: Rate | undefined
  /**
   * What keeps the rate. With `host` (default) a native thread grants writes while the VM runs.
   * With `clock` the guest keeps the rate itself, by the TSC or the counter of arm64. Such a guest
   * needs no host, and makes up for up to a second in which it did not run.
   */
  pacing?: 'host' | 'clock' | undefined
  /**
   * Whether the guest writes only what `vm.workload.grant()` allows. This cannot be combined with
   * `rate`.
   */
  granted?: boolean | undefined
  /**
   * `split` (default): each vCPU has its own share of the pages; `shared`: every vCPU writes all of
   * them.
   */
  sharing?: 'split' | 'shared' | undefined
  /**
   * `packed` (default): from the first free address up; `spread`: over the ends of all RAM blocks;
   * `even`: over the ends of all GiB of guest addresses that are RAM.
   */
  placement?: 'packed' | 'spread' | 'even' | undefined
  /** Makes `random` and `hot-cold` repeatable; a whole number below 2^32. */
  seed?: number | undefined
}

/** A guest program for `vm.load()`, which {@link workload} makes. */
export interface Workload {
  readonly kind: WorkloadKind
  readonly pages: number
  readonly pacing: 'free' | 'granted' | 'clock'
  readonly bytesPerSecond?: number
  readonly sharing: 'split' | 'shared'
  readonly placement: 'packed' | 'spread' | 'even'
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

/** The members of a workload that {@link makeWorkload} returns. */
const MADE: OptionNames<Workload> = {
  kind: true,
  pages: true,
  pacing: true,
  bytesPerSecond: true,
  sharing: true,
  placement: true,
  seed: true,
}

/** The machine for which {@link buildGuest} builds a guest. */
export interface GuestMachine {
  memory: Size | readonly Block[]
  /** How many vCPUs the machine has. Default 1. */
  vcpus?: number | undefined
}

const MACHINE: OptionNames<GuestMachine> = { memory: true, vcpus: true }

const SHARINGS = ['split', 'shared'] as const
const PLACEMENTS = ['packed', 'spread', 'even'] as const
const PACINGS = ['host', 'clock'] as const

/** The options that some guests do not use. */
const UNUSED: Partial<Record<WorkloadKind, readonly (keyof WorkloadOptions)[]>> = {
  stride: ['seed'],
  silent: ['seed'],
  idle: ['rate', 'pacing', 'granted', 'sharing', 'placement', 'seed'],
}

/** The options that this guest uses. */
export function optionsOf(kind: WorkloadKind): string[] {
  const unused: readonly string[] = UNUSED[kind] ?? []
  return Object.keys(WORKLOAD).filter(
    name => !unused.includes(name) && !(kind === 'idle' && name === 'pages'),
  )
}

/**
 * Checks the options of a workload. An option that the guest would ignore is refused. Throws
 * ERR_ARGUMENT.
 */
export function makeWorkload(kind: WorkloadKind, options: WorkloadOptions): Workload {
  const known = parseChoice(kind, 'workload', workloadKinds)
  parseObject(options, 'options', '{ pages: 25600 }')
  refuseUnknown(options, WORKLOAD, 'options', optionsOf(known))
  const pages = parseCount(options.pages, 'pages', known === 'idle' ? 0 : 1)
  const unused = UNUSED[known]?.find(name => options[name] !== undefined)
  if (unused !== undefined || (known === 'idle' && pages > 0)) {
    throw argumentError(
      `${unused ?? 'pages'}: the workload '${known}' does not use it`,
      'Leave it out.',
    )
  }
  if (options.rate !== undefined && options.granted) {
    throw argumentError('granted: it cannot be combined with rate', 'Leave out rate or granted.')
  }
  return Object.freeze({
    kind: known,
    pages,
    ...paceOf(options),
    sharing: parseChoice(options.sharing ?? 'split', 'sharing', SHARINGS),
    placement: parseChoice(options.placement ?? 'packed', 'placement', PLACEMENTS),
    ...(options.seed === undefined
      ? {}
      : { seed: parseCount(options.seed, 'seed', 0, 2 ** 32 - 1) }),
  })
}

/** The pacing and the rate of a guest with these options. Throws ERR_ARGUMENT. */
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
  throw argumentError(
    'rate: a guest cannot keep a rate below 1B/s by its own clock',
    'Give a higher rate.',
  )
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
  /** Writes its pages one after the other, over and over. */
  stride(options: WorkloadOptions): Workload
  /** Writes pages drawn uniformly at random from its working set. */
  random(options: WorkloadOptions): Workload
  /** Writes a small part of its working set most of the time. */
  hotCold(options: WorkloadOptions): Workload
  /**
   * Always writes the same value, so that after the first pass KVM sees dirty pages, and page
   * sampling sees none.
   */
  silent(options: WorkloadOptions): Workload
  /** Writes nothing. */
  idle(): Workload
} = {
  stride: options => makeWorkload('stride', options),
  random: options => makeWorkload('random', options),
  hotCold: options => makeWorkload('hot-cold', options),
  silent: options => makeWorkload('silent', options),
  // The type allows no options. If a program gives some all the same, they are refused.
  idle: (options: Partial<WorkloadOptions> = {}) =>
    makeWorkload('idle', { pages: 0, ...parseObject(options, 'options', 'nothing') }),
}

/** Whether `image` is a workload from {@link workload}, and not the files of a kernel. */
export function isWorkload(image: unknown): image is Workload {
  return typeof image === 'object' && image !== null && 'kind' in image
}

/**
 * Returns a copy of `guest`, which a caller can also make by hand and change later. Throws
 * ERR_ARGUMENT if no function of {@link workload} makes such a guest, because no target URI would
 * open it again.
 */
export function parseWorkload(guest: Workload): Workload {
  const { kind, pages, pacing, sharing, placement, bytesPerSecond, seed } = parseOptions(
    guest,
    MADE,
    'workload',
  )
  parseCount(pages, 'pages', 0)
  const keeper = parseChoice(pacing, 'pacing', ['free', 'granted', 'clock'])
  if (keeper === 'free' && bytesPerSecond !== undefined) {
    throw argumentError(
      "bytesPerSecond: a workload whose pacing is 'free' does not use it",
      'Leave it out.',
    )
  }
  // Defaults are left out, because an idle guest accepts none of these options.
  const unlessDefault = <T>(choice: T, usual: T): T | undefined =>
    choice === usual ? undefined : choice
  return makeWorkload(parseChoice(kind, 'workload', workloadKinds), {
    pages,
    rate: bytesPerSecond,
    pacing: keeper === 'clock' ? 'clock' : undefined,
    granted: keeper === 'granted' && bytesPerSecond === undefined ? true : undefined,
    sharing: unlessDefault(parseChoice(sharing, 'sharing', SHARINGS), 'split'),
    placement: unlessDefault(parseChoice(placement, 'placement', PLACEMENTS), 'packed'),
    seed,
  })
}

/**
 * A workload that {@link parseWorkload} has checked as the binding takes it, for a VM of `vcpus`.
 */
export function toNative(guest: Workload, vcpus: number): NativeWorkloadOptions {
  const { kind, pages } = guest
  // An idle guest writes no pages, but the binding needs at least one page for each vCPU.
  return { ...guest, pages: kind === 'idle' ? Math.max(pages, vcpus) : pages, vcpus }
}

/**
 * Makes the guest as an ELF, with its parameters inside. It boots with `vm.load({ kernel })`, and
 * with QEMU's `-kernel` on this architecture (by PVH on x86-64). `memory` is the memory of the
 * machine in which it will run; in QEMU's `virt` it begins at 1 GiB. The guest keeps a rate by its
 * own clock, because it may run without a host that paces it. This needs no KVM. Throws
 * ERR_ARGUMENT.
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
  return callNative(() => guestProgram(guest, machine).elf()) as OwnUint8Array
}

/** {@link buildGuest}, with what is known about the guest beside its file. Throws ERR_ARGUMENT. */
export function guestProgram(guest: Workload, machine: GuestMachine): NativeGuestProgram {
  if (!isWorkload(guest))
    throw argumentError('guest: not a workload', 'Give workload.stride({ pages: 25600 }).')
  const vcpus = parseCount(
    parseOptions(machine, MACHINE, 'machine', "{ memory: '1GiB' }").vcpus ?? 1,
    'vcpus',
    1,
  )
  const ram: RamBlock[] = parseMemory(machine.memory)
  const alone = keepingItsRate(parseWorkload(guest))
  const Program = callNative(() => native().NativeGuestProgram)
  return callNative(() => new Program(toNative(alone, vcpus), ram))
}

/** The same guest, which keeps its rate by its own clock if it has one. Throws ERR_ARGUMENT. */
export function keepingItsRate(guest: Workload): Workload {
  const { bytesPerSecond } = guest
  return bytesPerSecond === undefined ? guest : { ...guest, ...byClock(bytesPerSecond) }
}

/** Throws ERR_ARGUMENT for an object that `instant()` did not give. */
function parseInstant(instant: WorkloadInstant, name: string): void {
  const { writes, budgets, grants } = parseObject(instant, name, 'what instant() gave')
  if (!Array.isArray(writes) || !Array.isArray(budgets) || typeof grants !== 'number') {
    throw argumentError(
      `${name}: it did not come from instant()`,
      'Give an object that vm.workload.instant() returned.',
    )
  }
}

/**
 * The workload that runs in a VM: its counters, and grants of writes.
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
  /** The workload that was loaded. */
  readonly workload: Workload
  readonly #vm: NativeVirtualMachine
  readonly #newToken: () => CancelToken

  /** @internal */
  constructor(guest: Workload, vm: NativeVirtualMachine, newToken: () => CancelToken) {
    this.workload = guest
    this.#vm = vm
    this.#newToken = newToken
  }

  /**
   * Lets each vCPU make `writes` more writes. For this the host writes the control page, which
   * counts as dirty. Throws ERR_ARGUMENT, ERR_STATE.
   */
  grant(writes: number): void {
    parseCount(writes, 'writes', 1)
    callNative(() => this.#vm.grant(writes))
  }

  /**
   * Resolves when every granted write is made. Rejects with the signal's reason, and if the guest
   * crashes or the VM is closed.
   */
  async settled(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    await untilAborted(parseOptions(options, SIGNAL).signal, this.#newToken(), token =>
      callNative(() => this.#vm.settled(token)),
    )
  }

  /** Reads the counters. */
  instant(): WorkloadInstant {
    return callNative(() => this.#vm.instant())
  }

  /**
   * Computes which pages were written between two instants. The result is exact if the guest was
   * settled at both.
   */
  async truth(from: WorkloadInstant, to: WorkloadInstant): Promise<Truth> {
    parseInstant(from, 'from')
    parseInstant(to, 'to')
    return callNative(() => this.#vm.truth(from, to))
  }

  /**
   * Checks that the contents of the pages agree with the counters. Resolves with null, or with the
   * difference. The guest must be paused or settled.
   */
  async confirmContents(): Promise<string | null> {
    return callNative(() => this.#vm.confirmContents())
  }
}
