/** A VM of our own: its life, its memory, and the measurements of it. */

import { consoleOf } from './console.js'
import { DirtyMemory, parseWindow } from './dirty-memory.js'
import { argumentError, DirtyRateError } from './errors.js'
import { DirtyRateClient } from './measurement/client.js'
import { Measurements, requireRunning, WITHIN } from './measurement/measurements.js'
import { availableModes, chooseMode } from './measurement/mode.js'
import { bitmapMeasurement, type VirtualMachineMeasurement } from './measurement/result.js'
import { type Block, notShared, parseBlock, parseMemory, parseVcpus, totalSize } from './memory.js'
import {
  type CancelToken,
  callNative,
  type NativeBlock,
  type NativeCrash,
  type NativeVirtualMachine,
  native,
} from './native.js'
import { DirtyRateJob } from './qapi/dirty-rate-job.js'
import type { CalcDirtyRateArguments, DirtyRateInfo, QueryDirtyRateArguments } from './qapi/types.js'
import type { MeasureOptions, Target, TargetDescription } from './targets/target.js'
import { escapeOption } from './targets/uri.js'
import { parseChoice, parseCount, parseSize, type Size } from './units.js'
import { isWorkload, RunningWorkload, toNative, type Workload, workloadUriOptions } from './workload.js'

/** `crashed`: a vCPU ended unexpectedly, `vm.crash` says how. */
export type VirtualMachineState = 'created' | 'running' | 'paused' | 'shutdown' | 'crashed' | 'closed'

/** What KVM does for CLEAR: see KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2. */
export type ManualProtect = 'none' | 'enable' | 'initially-set'

export interface CreateOptions {
  /** A size, laid out around the hole below 4 GiB, or RAM blocks with holes between them. Multiples of the page size. */
  memory: Size | readonly Block[]
  /** Default 1; at most `capabilities().vcpus`. */
  vcpus?: number
  /** The VM's one exact source. This release has the bitmap; `auto` (default) is that. */
  dirtyLog?: 'auto' | 'bitmap' | { ringEntries: number }
  /** Default `auto`: the best that the kernel has. */
  manualProtect?: 'auto' | ManualProtect
  /** What a guest's access to no device does: `stop` (default) is a crash, `ignore` reads ones and drops writes. */
  unknownMmio?: 'stop' | 'ignore'
  /** Guest memory that one CLEAR covers: a guest that faults waits for one of them at most. Default 1 GiB. */
  clearChunk?: Size
  /** Default /dev/kvm. */
  kvmPath?: string
  signal?: AbortSignal
}

/** An ELF with a PVH entry, by file name. */
export interface KernelImage {
  kernel: string
  initrd?: string
  cmdline?: string
}

/** A RAM block of a VM; `generation` tells two blocks of one name apart. */
export type RamBlockInfo = NativeBlock
/** How a guest crashed; `instructionPointer` is hexadecimal, null where the kernel cannot say. */
export type Crash = NativeCrash

const newToken = (): CancelToken => new (native().CancelToken)()

/** One KVM virtual machine. Made by {@link VirtualMachine.create}; give it back with `close()`. */
export class VirtualMachine implements Target {
  readonly #vm: NativeVirtualMachine
  readonly #measurements: Measurements
  readonly #job: DirtyRateJob
  readonly #pageSize: number
  /** The five steps, and the bits of each client. */
  readonly dirtyMemory: DirtyMemory
  /** The serial port's output, as it comes. */
  readonly console: AsyncIterable<string>
  #image: string | undefined
  #workload: RunningWorkload | undefined
  #closing: Promise<void> | undefined

  private constructor(vm: NativeVirtualMachine, pageSize: number) {
    const dirtyRate = new DirtyRateClient()
    this.#vm = vm
    this.#pageSize = pageSize
    this.#measurements = new Measurements(vm, newToken, dirtyRate)
    this.#job = new DirtyRateJob(windowMs => this.#measure(windowMs))
    this.dirtyMemory = new DirtyMemory(vm, newToken, dirtyRate)
    this.console = consoleOf(vm, newToken)
  }

  /**
   * Creates a VM. Its memory is reserved, not touched. Rejects with ERR_ARGUMENT (which names the block), ERR_KVM_*, ERR_MEMORY,
   * ERR_UNSUPPORTED (`manualProtect`), ERR_MODE_UNAVAILABLE (`dirtyLog`), or the signal's reason.
   */
  static async create(options: CreateOptions): Promise<VirtualMachine> {
    const { dirtyLog = 'auto', kvmPath, clearChunk, signal } = options
    if (typeof dirtyLog === 'object') {
      throw new DirtyRateError(
        'ERR_MODE_UNAVAILABLE',
        'dirtyLog: a dirty ring is not available in this release',
        {
          hint: "Use dirtyLog 'bitmap', or 'auto'.",
        },
      )
    }
    parseChoice(dirtyLog, 'dirtyLog', ['auto', 'bitmap'])
    const { pageSize } = callNative(() => native().capabilities(kvmPath))
    const checked = {
      blocks: parseMemory(options.memory),
      vcpus: parseVcpus(options.vcpus ?? 1),
      manualProtect: parseChoice(options.manualProtect ?? 'auto', 'manualProtect', [
        'auto',
        'none',
        'enable',
        'initially-set',
      ]),
      unknownMmio: parseChoice(options.unknownMmio ?? 'stop', 'unknownMmio', ['stop', 'ignore']),
      ...(clearChunk === undefined ? {} : { clearChunkBytes: parseSize(clearChunk, 'clearChunk') }),
      ...(kvmPath === undefined ? {} : { kvmPath }),
    }
    signal?.throwIfAborted()
    const token = newToken()
    const cancel = (): void => token.cancel()
    signal?.addEventListener('abort', cancel, { once: true })
    try {
      const vm = await callNative(() => native().NativeVirtualMachine.create(checked, token))
      if (signal?.aborted) await vm.close()
      signal?.throwIfAborted()
      return new VirtualMachine(vm, pageSize)
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
  }

  /** As a target URI; of a VM with blocks of its own, with their total size. `vm:` before anything is loaded. */
  get uri(): string {
    const machine = `memory=${totalSize(this.#vm.blocks())},vcpus=${this.vcpus}`
    return this.#image === undefined ? `vm:${machine}` : `${this.#image},${machine}`
  }

  get state(): VirtualMachineState {
    return this.#vm.state as VirtualMachineState
  }

  /** How the guest crashed, or null. */
  get crash(): Crash | null {
    return this.#vm.crash
  }

  get vcpus(): number {
    return this.#vm.vcpuCount
  }

  /** What was negotiated with KVM at creation. */
  get manualProtect(): ManualProtect {
    return callNative(() => this.#vm.manualProtect()) as ManualProtect
  }

  /** The RAM blocks, by guest address. */
  get blocks(): RamBlockInfo[] {
    return callNative(() => this.#vm.blocks())
  }

  /** The host's side of the built-in workload; undefined with a kernel, or before `load()`. */
  get workload(): RunningWorkload | undefined {
    return this.#workload
  }

  /** Loads a guest, before `start()`. Rejects with ERR_ARGUMENT, ERR_KERNEL_IMAGE, ERR_STATE; the VM stays usable. */
  async load(image: Workload | KernelImage): Promise<void> {
    if (isWorkload(image)) {
      await callNative(() => this.#vm.loadWorkload(toNative(image, this.vcpus)))
      this.#workload = new RunningWorkload(image, this.#vm, newToken)
      this.#image = `guest:${workloadUriOptions(image)}`
      return
    }
    const { kernel, initrd, cmdline } = image ?? {}
    if (typeof kernel !== 'string' || kernel === '') {
      throw argumentError(
        'load: neither a workload nor a kernel',
        "Give workload.stride({ pages: 25600 }) or { kernel: 'FILE' }.",
      )
    }
    await callNative(() =>
      this.#vm.loadKernel({
        kernel,
        ...(initrd === undefined ? {} : { initrd }),
        ...(cmdline === undefined ? {} : { cmdline }),
      }),
    )
    this.#workload = undefined
    this.#image = `kernel:${escapeOption(kernel)}`
  }

  /** Resolves when the vCPUs run, with a workload when its vCPUs are ready. Rejects with ERR_STATE, ERR_GUEST_CRASHED. */
  async start(): Promise<void> {
    await callNative(() => this.#vm.start())
  }

  /** Stops the vCPUs where they are. Measurements under way reject with ERR_PAUSED. */
  async pause(): Promise<void> {
    await callNative(() => this.#vm.pause())
    await this.#measurements.interruptAll(new DirtyRateError('ERR_PAUSED', `the VM was paused ${WITHIN}`))
  }

  async resume(): Promise<void> {
    await callNative(() => this.#vm.resume())
  }

  /** Ends the vCPUs; memory and bits stay readable. Measurements under way reject with ERR_STATE. */
  async shutdown(): Promise<void> {
    await callNative(() => this.#vm.shutdown())
    await this.#measurements.interruptAll(new DirtyRateError('ERR_STATE', `the VM was shut down ${WITHIN}`))
  }

  /** Adds a RAM block, while the VM runs and is measured too. Rejects with ERR_ARGUMENT that names the block. */
  async addBlock(block: Block): Promise<RamBlockInfo> {
    const checked = parseBlock(block)
    return callNative(() => this.#vm.addBlock(checked))
  }

  /** Removes a RAM block. Its bits live until every client has reaped them. Rejects with ERR_ARGUMENT. */
  async removeBlock(name: string): Promise<void> {
    await callNative(() => this.#vm.removeBlock(name))
  }

  /** Copies guest memory from `address` (guest physical) into all of `into`. Throws ERR_ARGUMENT outside of RAM. */
  readMemory(address: number, into: Uint8Array): void {
    parseCount(address, 'address', 0)
    notShared(into, 'into')
    callNative(() => this.#vm.readMemory(address, into))
  }

  /** Writes guest memory; the pages are dirty for every client that tracks. Throws ERR_ARGUMENT outside of RAM. */
  writeMemory(address: number, bytes: Uint8Array): void {
    parseCount(address, 'address', 0)
    notShared(bytes, 'bytes')
    callNative(() => this.#vm.writeMemory(address, bytes))
  }

  async describe(): Promise<TargetDescription> {
    return {
      uri: this.uri,
      memoryBytes: this.blocks.reduce((sum, block) => sum + block.bytes, 0),
      vcpus: this.vcpus,
      state: this.state,
      modes: availableModes.map(mode => ({
        mode,
        exact: true,
        costToGuest:
          'a write fault on the first write to each page of a window, and the wait for one CLEAR at most',
      })),
    }
  }

  /**
   * Measures one window, exactly; several at once each get their own right answer. Rejects with ERR_ARGUMENT, ERR_MODE_UNAVAILABLE,
   * ERR_STATE, ERR_PAUSED, ERR_GUEST_CRASHED, ERR_CLOSED, or the signal's reason; the log is then off and the VM usable.
   */
  async measureDirtyRate(options: MeasureOptions = {}): Promise<VirtualMachineMeasurement> {
    const windowMs = parseWindow(options.window ?? '1s', 'window')
    chooseMode(options.mode ?? 'auto')
    return this.#measure(windowMs, options.signal)
  }

  /** QEMU's calc-dirty-rate: resolves at once. Rejects with QapiError (ERR_QAPI) and its texts, or as {@link measureDirtyRate}. */
  async calcDirtyRate(args: CalcDirtyRateArguments): Promise<void> {
    this.#job.calc(args, () => requireRunning(this.#vm, 'when the measurement began'))
  }

  /** QEMU's query-dirty-rate. Rejects with what the last job failed with, if it did. */
  async queryDirtyRate(args: QueryDirtyRateArguments = {}): Promise<DirtyRateInfo> {
    return this.#job.query(args)
  }

  /** Ends the vCPUs and frees everything; measurements under way reject with ERR_CLOSED. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    await this.#measurements.interruptAll(new DirtyRateError('ERR_CLOSED', `the VM was closed ${WITHIN}`))
    await callNative(() => this.#vm.close())
  }

  async #measure(requestedMs: number, signal?: AbortSignal): Promise<VirtualMachineMeasurement> {
    const startedAt = new Date()
    const round = await this.#measurements.measure(requestedMs, signal)
    return bitmapMeasurement(round, { target: this.uri, startedAt, requestedMs, pageSize: this.#pageSize })
  }
}
