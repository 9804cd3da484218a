/** A VM of our own: its life, its memory, and the measurements of it. */

import { untilAborted } from '../../ground/abort.js'
import {
  parseArray,
  parseCount,
  parseListener,
  parseOptions,
  parseSignal,
  parseText,
  SIGNAL,
} from '../../ground/arguments.js'
import { CallOrder } from '../../ground/call-order.js'
import { DirtyRateError, hasCode } from '../../ground/errors.js'
import { emit } from '../../ground/log.js'
import {
  type CancelToken,
  callNative,
  type NativeVirtualMachine,
  native,
} from '../../ground/native.js'
import type { Warning } from '../../results/warning.js'
import { MeasuredTarget } from '../measured-target.js'
import type { Control, TargetDescription } from '../target.js'
import { formatTargetUri } from '../uri.js'
import { DirtyRateClient } from './client.js'
import { consoleOf } from './console.js'
import {
  CREATE,
  type CreateOptions,
  type ManualProtect,
  parseCreate,
  parseHistorySize,
  withoutRings,
} from './create-options.js'
import { DirtyMemory } from './dirty-memory.js'
import type { VirtualMachineFigures } from './figures.js'
import { readMemory, writeMemory } from './guest-memory.js'
import { type ImageUri, uriOfKernel, uriOfWorkload } from './images.js'
import { type KernelImage, parseKernel } from './kernel-image.js'
import {
  type EndState,
  Lifecycle,
  type StateChange,
  type VirtualMachineState,
} from './lifecycle.js'
import { uriOfCreation, uriOfMemory } from './machine.js'
import { type Block, memoryForKernel, parseBlock, parseMemory } from './memory.js'
import { abilitiesOf, type DirtyLogKind, RING_UNAVAILABLE } from './modes.js'
import type { Crash, RamBlockInfo } from './reports.js'
import { WITHIN } from './running.js'
import { VirtualMachineSource } from './source.js'
import { isWorkload, parseWorkload, RunningWorkload, toNative, type Workload } from './workload.js'

const newToken = (): CancelToken => new (native().CancelToken)()

/**
 * One KVM virtual machine. {@link VirtualMachine.create} makes it, and `close()` frees it. Calls
 * that change it take effect in the order in which they were made, whether they are awaited or not.
 * Only `shutdown()` and `close()` wait for no other call, because they end what is under way.
 *
 * @example
 * ```ts
 * import { VirtualMachine, workload } from 'dirtyrate'
 *
 * const vm = await VirtualMachine.create({ memory: '1GiB', vcpus: 2 })
 * try {
 *   await vm.load(workload.stride({ pages: 25600, rate: '100MiB/s' }))
 *   await vm.start()
 *   const { pages, truth } = await vm.measureDirtyRate({ window: '200ms' })
 *   console.log(pages, truth)
 * } finally {
 *   await vm.close()
 * }
 * ```
 */
export class VirtualMachine extends MeasuredTarget<VirtualMachineFigures> implements Control {
  readonly #vm: NativeVirtualMachine
  /** The order of the calls that change the VM, its memory, or its clients' bits. */
  readonly #order: CallOrder
  /**
   * The VM's dirty log: the one that was chosen at creation, or the bitmap on a kernel without
   * rings.
   */
  readonly dirtyLog: DirtyLogKind
  /** How many entries each vCPU's dirty ring has; 0 with a bitmap. */
  readonly ringEntries: number
  /** The host's page size in bytes. Every count of pages is in pages of this size. */
  readonly pageSize: number
  /** The five steps, and the bits of each client. */
  readonly dirtyMemory: DirtyMemory
  /** The output of the serial port, piece by piece. */
  readonly console: AsyncIterable<string>
  readonly #lifecycle: Lifecycle
  #image: ImageUri | undefined
  /** The options that were chosen at creation, in the form of the URI. */
  readonly #creation: readonly [string, string][]
  #workload: RunningWorkload | undefined
  #closing: Promise<void> | undefined
  /** How the guest had crashed when the VM was closed: the native VM has forgotten it then. */
  #lastCrash: Crash | null = null

  private constructor(
    vm: NativeVirtualMachine,
    historySize: number,
    kernel: { pageSize: number; kernelHasRing: boolean; warnings: readonly Warning[] },
    creation: readonly [string, string][],
  ) {
    const order = new CallOrder()
    const dirtyRate = new DirtyRateClient(vm, order)
    const log: DirtyLogKind = vm.dirtyLog
    super(new VirtualMachineSource({ vm, log, dirtyRate, ...kernel }), historySize)
    this.#vm = vm
    this.#order = order
    this.dirtyLog = log
    this.ringEntries = vm.ringEntries
    this.pageSize = kernel.pageSize
    this.#creation = creation
    this.#lifecycle = new Lifecycle(
      () => this.state,
      call => callNative(() => vm.whenEnded(call)),
    )
    this.dirtyMemory = new DirtyMemory(vm, newToken, dirtyRate, order)
    this.console = consoleOf(vm, newToken)
  }

  /**
   * Creates a VM. Its memory is reserved, but takes no space until it is used. Rejects with
   * ERR_ARGUMENT (which names the block), ERR_KVM_*, ERR_MEMORY, ERR_UNSUPPORTED (`manualProtect`),
   * or the signal's reason.
   */
  static async create(options: CreateOptions): Promise<VirtualMachine> {
    const { kvmPath, signal } = parseOptions(options, CREATE, 'options', "{ memory: '1GiB' }")
    if (kvmPath !== undefined) parseText(kvmPath, 'kvmPath')
    const { pageSize, dirtyRingEntries } = callNative(() => native().capabilities(kvmPath))
    const historySize = parseHistorySize(options.historySize)
    const asked = parseCreate(options)
    // The caller may change its options as soon as this call has returned its promise: from here on
    // they are not read.
    const creation = uriOfCreation(asked)
    const kernelHasRing = dirtyRingEntries > 0
    const ringless = asked.ringEntries !== undefined && !kernelHasRing
    const checked = ringless ? withoutRings(asked) : asked
    const warnings = ringless ? [RING_UNAVAILABLE] : []
    for (const { message } of warnings) emit('warn', 'dirtyrate::kvm', message, {})
    const token = newToken()
    // If the abort comes too late and the VM was made, it is closed.
    return untilAborted(signal, token, async () => {
      const vm = await callNative(() => native().NativeVirtualMachine.create(checked, token))
      if (signal?.aborted) {
        await vm.close()
        signal.throwIfAborted()
      }
      return new VirtualMachine(vm, historySize, { pageSize, kernelHasRing, warnings }, creation)
    })
  }

  /**
   * The target URI of this VM, which opens the same guest in the same machine again. It has the
   * options that were chosen at creation and the blocks that the VM has now. It cannot be opened
   * before a guest is loaded, when it begins with `vm:`, nor without a block, when it says
   * `memory=0B`.
   */
  override get uri(): string {
    const layOut = this.#image?.scheme === 'kernel' ? memoryForKernel : parseMemory
    const machine: [string, string][] = [
      ['memory', uriOfMemory(this.blocks, layOut)],
      ['vcpus', String(this.vcpus)],
    ]
    if (this.dirtyLog === 'ring')
      machine.push(['log', 'ring'], ['ring-entries', String(this.ringEntries)])
    machine.push(...this.#creation)
    if (this.#image === undefined) return `vm:${machine.map(option => option.join('=')).join(',')}`
    const { scheme, name, options } = this.#image
    return formatTargetUri({ scheme, name, options: new Map([...options, ...machine]) })
  }

  /** What the VM is doing now. */
  get state(): VirtualMachineState {
    return this.#vm.state
  }

  /**
   * Resolves when the guest has ended, with how it ended: `shutdown`, `crashed` (then `vm.crash`
   * says more) or `closed`. Never rejects. If the VM is not started yet, this waits until its guest
   * has run and ended.
   */
  get ended(): Promise<EndState> {
    return this.#lifecycle.ended
  }

  /**
   * Calls `listener` at each change of `vm.state`, also when the guest ends by itself. The returned
   * function removes the listener. A listener that throws disturbs nothing. Throws ERR_ARGUMENT if
   * `listener` is no function, and ERR_CLOSED.
   */
  onStateChange(listener: (change: StateChange) => void): () => void {
    this.requireOpen()
    return this.#lifecycle.onChange(parseListener(listener, 'listener'))
  }

  /** How the guest crashed, or null if it did not. */
  get crash(): Crash | null {
    return this.#vm.crash ?? this.#lastCrash
  }

  /** How many vCPUs the VM has. */
  get vcpus(): number {
    return this.#vm.vcpuCount
  }

  /** How KVM protects pages again, as set at creation. */
  get manualProtect(): ManualProtect {
    return callNative(() => this.#vm.manualProtect())
  }

  /** The RAM blocks, by guest address. */
  get blocks(): RamBlockInfo[] {
    return callNative(() => this.#vm.blocks())
  }

  /** The host's side of the built-in workload; undefined with a kernel, or before `load()`. */
  get workload(): RunningWorkload | undefined {
    return this.#workload
  }

  /**
   * Loads a guest. This comes before `start()`. Rejects with ERR_ARGUMENT, ERR_KERNEL_IMAGE,
   * ERR_STATE, ERR_CLOSED, or the signal's reason; the VM stays usable unless it was closed.
   */
  async load(
    image: Workload | KernelImage,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    const { signal } = parseOptions(options, SIGNAL)
    if (isWorkload(image)) {
      parseSignal(signal)?.throwIfAborted()
      const guest = parseWorkload(image)
      const program = toNative(guest, this.vcpus)
      return this.#inOrder(async () => {
        await this.#vm.loadWorkload(program)
        this.#workload = new RunningWorkload(guest, this.#vm, newToken)
        this.#image = uriOfWorkload(guest)
      }, signal)
    }
    const files = parseKernel(image)
    try {
      await untilAborted(signal, newToken(), token =>
        this.#inOrder(async () => {
          await this.#vm.loadKernel(files, token)
          this.#workload = undefined
          this.#image = uriOfKernel(files)
        }, signal),
      )
    } catch (error) {
      // The native load has ended because the machine was shut down meanwhile.
      if (this.#closing === undefined || !hasCode(error, 'ERR_STATE')) throw error
      throw new DirtyRateError('ERR_CLOSED', 'the VM was closed while a kernel was loaded')
    }
  }

  /**
   * Starts the vCPUs. Resolves when they run, and with a workload when its vCPUs are ready. Rejects
   * with ERR_STATE, ERR_GUEST_CRASHED, ERR_LIMIT, or the signal's reason, and then the VM is shut
   * down.
   */
  async start(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    const { signal } = parseOptions(options, SIGNAL)
    try {
      await untilAborted(signal, newToken(), token =>
        this.#inOrder(() => this.#vm.start(token), signal),
      )
    } finally {
      this.#lifecycle.look()
    }
  }

  /** Pauses the vCPUs. Measurements under way reject with ERR_PAUSED. */
  async pause(): Promise<void> {
    const interrupted = await this.#inOrder(async () => {
      await this.#vm.pause()
      this.#lifecycle.look()
      // This is not awaited here, because a measurement's clean-up waits for its turn in the same
      // order.
      return {
        all: this.interruptMeasurements(
          new DirtyRateError('ERR_PAUSED', `the VM was paused ${WITHIN}`),
        ),
      }
    })
    await interrupted.all
  }

  /** Lets the vCPUs of a paused VM run again. */
  async resume(): Promise<void> {
    await this.#inOrder(() => this.#vm.resume())
    this.#lifecycle.look()
  }

  /**
   * Ends the vCPUs. Memory and bits can still be read. Measurements under way reject with
   * ERR_STATE.
   */
  async shutdown(): Promise<void> {
    await callNative(() => this.#vm.shutdown())
    this.#lifecycle.look()
    await this.interruptMeasurements(
      new DirtyRateError('ERR_STATE', `the VM was shut down ${WITHIN}`),
    )
  }

  /**
   * Adds a RAM block, also while the VM runs and is measured. Rejects with ERR_ARGUMENT, which
   * names the block.
   *
   * @example
   * ```ts
   * const { generation } = await vm.addBlock({ name: 'extra', guestAddress: '64GiB', bytes: '64MiB' })
   * await vm.removeBlock('extra')
   * console.log(generation)
   * ```
   */
  async addBlock(block: Block): Promise<RamBlockInfo> {
    const checked = parseBlock(block)
    return this.#inOrder(() => this.#vm.addBlock(checked))
  }

  /**
   * Removes a RAM block. Its bits are kept until every client has taken them. Rejects with
   * ERR_ARGUMENT.
   */
  async removeBlock(name: string): Promise<void> {
    parseText(name, 'name')
    await this.#inOrder(() => this.#vm.removeBlock(name))
  }

  /**
   * Copies guest memory from `address` (guest physical) into all of `into`, piece by piece, after
   * the calls before this one have taken effect. Rejects with ERR_ARGUMENT outside of RAM, and then
   * nothing is copied.
   *
   * @example
   * ```ts
   * const page = new Uint8Array(vm.pageSize)
   * await vm.readMemory(2 ** 20, page)
   * ```
   */
  async readMemory(address: number, into: Uint8Array): Promise<void> {
    parseCount(address, 'address', 0)
    parseArray(into, 'Uint8Array', 'into')
    await this.#order.after(() => readMemory(this.#vm, address, into))
  }

  /**
   * Writes guest memory, piece by piece. The pages become dirty for every client that tracks. Do
   * not change `bytes` until the promise has settled. Rejects with ERR_ARGUMENT outside of RAM, and
   * then nothing is written.
   */
  async writeMemory(address: number, bytes: Uint8Array): Promise<void> {
    parseCount(address, 'address', 0)
    parseArray(bytes, 'Uint8Array', 'bytes')
    await this.#order.run(() => writeMemory(this.#vm, address, bytes))
  }

  /** True: this process made the VM. */
  get isOwn(): true {
    return true
  }

  /** The VM itself, because it can be paused, resumed and shut down. */
  get control(): Control {
    return this
  }

  override async describe(): Promise<TargetDescription> {
    return {
      uri: this.uri,
      memoryBytes: this.blocks.reduce((sum, block) => sum + block.bytes, 0),
      vcpus: this.vcpus,
      state: this.state,
      kvm: true,
      modes: [...abilitiesOf(this.dirtyLog)],
    }
  }

  /**
   * Ends the vCPUs and frees everything. Measurements under way reject with ERR_CLOSED. Calling it
   * again changes nothing.
   */
  override close(): Promise<void> {
    if (this.#closing === undefined) {
      let begin = (_: Promise<void>): void => {}
      // It is there before the VM begins to close, because a listener that hears of the end may
      // call close() too.
      this.#closing = new Promise(resolve => {
        begin = resolve
      })
      begin(this.#close())
    }
    return this.#closing
  }

  /** @internal */
  protected override closedText(): { subject: string; hint?: string } {
    return { subject: 'VM' }
  }

  /** @internal */
  protected override isClosed(): boolean {
    return this.state === 'closed'
  }

  #inOrder<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#order.run(() => callNative(call), signal)
  }

  async #close(): Promise<void> {
    // A guest that has ended by itself did so before the VM is closed, also if nobody has noticed
    // yet.
    this.#lastCrash = this.#vm.crash
    this.#lifecycle.look()
    const interrupted = this.interruptMeasurements(
      new DirtyRateError('ERR_CLOSED', `the VM was closed ${WITHIN}`),
    )
    // The VM is closed before the measurements are awaited, because the clean-up of a measurement
    // may wait for a call that only the end of the VM ends.
    await callNative(() => this.#vm.close())
    this.#lifecycle.look()
    await interrupted
  }
}
