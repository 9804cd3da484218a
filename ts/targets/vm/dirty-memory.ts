/**
 * The dirty bits of a VM: one bitmap for each client and RAM block, and the five steps of a
 * measurement as five calls. How `measureDirtyRate()` uses these steps is in five-steps.ts.
 */

import { setImmediate } from 'node:timers'
import { untilAborted } from '../../ground/abort.js'
import {
  type OptionNames,
  type OwnBigUint64Array,
  type OwnUint32Array,
  parseArray,
  parseChoice,
  parseCount,
  parseFlag,
  parseOptions,
  parseText,
  SIGNAL,
} from '../../ground/arguments.js'
import type { CallOrder } from '../../ground/call-order.js'
import { argumentError, DirtyRateError } from '../../ground/errors.js'
import { type CancelToken, callNative, type NativeVirtualMachine } from '../../ground/native.js'
import type { Duration } from '../../ground/units.js'
import { parseWindow } from '../../measurement/windows.js'
import type { DirtyRateClient } from './client.js'
import type { DeadlineReport, Reap, SyncReport } from './reports.js'

/** A client, which has its own dirty bits: no clear or reap of another client changes them. */
export type Client = 'vga' | 'code' | 'migration' | 'dirty-rate'
const clients: readonly Client[] = ['vga', 'code', 'migration', 'dirty-rate']

/**
 * How many words of a bitmap the event loop copies without a break. They stand for 8 GiB of memory
 * with pages of 4 KiB, and copying them takes less than a millisecond even if no page of the array
 * exists yet.
 */
const WORDS_AT_ONCE = 2 ** 15

const READ: OptionNames<{ take?: boolean | undefined }> = { take: true }
const RANGES: OptionNames<{ from?: number | undefined; limit?: number | undefined }> = {
  from: true,
  limit: true,
}

/**
 * The dirty bits of one VM, which are `vm.dirtyMemory`. Calls that change something take effect in
 * the order in which they were made, whether they are awaited or not. Calls that only read do not
 * wait for them. Every method throws or rejects with ERR_CLOSED once the VM is closed.
 *
 * @example
 * ```ts
 * const { dirtyMemory } = vm
 * await dirtyMemory.startTracking('dirty-rate')
 * await dirtyMemory.discardInitialLog()
 * await dirtyMemory.clear('dirty-rate')
 * await dirtyMemory.syncAt('dirty-rate', ['200ms'])
 * const { pages } = await dirtyMemory.reap('dirty-rate')
 * await dirtyMemory.stopTracking('dirty-rate')
 * console.log(pages)
 * ```
 */
export class DirtyMemory {
  readonly #vm: NativeVirtualMachine
  readonly #newToken: () => CancelToken
  readonly #dirtyRate: DirtyRateClient
  readonly #order: CallOrder

  /** @internal */
  constructor(
    vm: NativeVirtualMachine,
    newToken: () => CancelToken,
    dirtyRate: DirtyRateClient,
    order: CallOrder,
  ) {
    this.#vm = vm
    this.#newToken = newToken
    this.#dirtyRate = dirtyRate
    this.#order = order
  }

  /**
   * Step 1: sets the client's tracking flag. The first flag that is set turns KVM's log on in every
   * block. Setting a flag twice changes nothing. For 'vga' use {@link setLogMask}. Resolves with
   * the time that the call took, in ns. Rejects with ERR_ARGUMENT, and with ERR_MEASURING while a
   * measurement owns the client.
   */
  async startTracking(client: Client): Promise<number> {
    return this.#change(client, async () => {
      const undo = client === 'dirty-rate' ? this.#dirtyRate.takeForUser() : undefined
      try {
        return await this.#vm.startTracking(client)
      } catch (error) {
        if (!this.#isTracking(client)) undo?.()
        throw error
      }
    })
  }

  /**
   * Clears the client's flag after a last sync. When the last flag is cleared, the log is turned
   * off. The client's bits can still be reaped, and no measurement empties them. Rejects as {@link
   * startTracking}.
   */
  async stopTracking(client: Client): Promise<void> {
    await this.#change(client, async () => {
      await this.#vm.stopTracking(client)
      if (client === 'dirty-rate') this.#dirtyRate.keepForUser()
    })
  }

  /**
   * Whether the client's flag is set, by the caller or by a measurement. The answer for
   * 'dirty-rate' is also true while a measurement runs in an accumulator because the client still
   * has bits of the caller.
   */
  isTracking(client: Client): boolean {
    this.#known(client)
    return this.#isTracking(client) || (client === 'dirty-rate' && this.#dirtyRate.standsIn)
  }

  /**
   * Sets or clears the log mask of the client 'vga' in one block. The mask alone keeps the log of
   * this block on. Rejects with ERR_ARGUMENT.
   */
  async setLogMask(block: string, on: boolean): Promise<void> {
    parseText(block, 'block')
    parseFlag(on, 'on')
    await this.#inOrder(() => this.#vm.setLogMask(block, on))
  }

  /** Names of the blocks whose KVM log is on. */
  loggingBlocks(): string[] {
    return callNative(() => this.#vm.loggingBlocks())
  }

  /**
   * Step 2: for each block whose log has just been turned on, drops the first round, which is all
   * ones, and protects the pages. Every other block is synced.
   */
  async discardInitialLog(options: { signal?: AbortSignal | undefined } = {}): Promise<SyncReport> {
    const { signal } = parseOptions(options, SIGNAL)
    return untilAborted(signal, this.#newToken(), token =>
      this.#inOrder(() => this.#vm.discardInitialLog(token), signal),
    )
  }

  /**
   * Step 3: empties the bits of this client, and of no other one, and opens its window. Rejects as
   * {@link startTracking}.
   */
  async clear(client: Client): Promise<void> {
    await this.#change(client, async () => {
      await this.#vm.clear(client)
      this.#emptied(client)
    })
  }

  /**
   * Fetches KVM's log now, gives the bits to every client that tracks, and protects the pages
   * again.
   */
  async sync(options: { signal?: AbortSignal | undefined } = {}): Promise<SyncReport> {
    const { signal } = parseOptions(options, SIGNAL)
    return untilAborted(signal, this.#newToken(), token =>
      this.#inOrder(() => this.#vm.sync(token), signal),
    )
  }

  /**
   * Step 4: syncs at each deadline. Deadlines are counted from the moment at which the client's
   * window was open in every chunk; a native thread keeps them. They are ascending, from 1 ms to 1
   * h. This begins when the calls before it have taken effect, and the calls after it do not wait
   * for it. Rejects with ERR_ARGUMENT, with ERR_STATE for a client that does not track, with
   * ERR_PAUSED for a guest that did not run since the client's last clear, take or start, or with
   * the signal's reason.
   */
  async syncAt(
    client: Client,
    deadlines: readonly Duration[],
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<DeadlineReport[]> {
    this.#known(client)
    const ms = Array.isArray(deadlines)
      ? deadlines.map(deadline => parseWindow(deadline, 'deadline'))
      : []
    if (ms.length === 0 || ms.some((at, i) => at <= (ms[i - 1] ?? 0))) {
      throw argumentError(
        'deadlines: not in ascending order, or none',
        "Give them as ['100ms', '1s'].",
      )
    }
    const { signal } = parseOptions(options, SIGNAL)
    return untilAborted(signal, this.#newToken(), token =>
      this.#order.after(() => {
        if (!this.#isTracking(client)) throw notTracking(client)
        return callNative(() => this.#vm.syncAt(client, ms, token))
      }, signal),
    )
  }

  /**
   * Step 5: counts the client's bits, and keeps them. This does not wait for a sync that is under
   * way: some chunks may count as before this sync, and others as after it.
   */
  async reap(client: Client): Promise<Reap> {
    this.#known(client)
    return callNative(() => this.#vm.reap(client))
  }

  /**
   * Step 5: counts the client's bits and empties them at the same instant, which opens the client's
   * next window. Rejects as {@link startTracking}.
   */
  async take(client: Client): Promise<Reap> {
    return this.#change(client, async () => {
      const reap = await this.#vm.take(client)
      this.#emptied(client)
      return reap
    })
  }

  /**
   * Copies the client's bits of one block into `into`; page 0 is bit 0 of word 0. Resolves with the
   * number of words written. With `take` the bits are taken at the same instant, for a migration
   * that sends the pages which it took. If `into` was transferred away meanwhile, the client gets
   * the bits back. Rejects with ERR_ARGUMENT; with `take`, also with ERR_MEASURING.
   *
   * @example
   * ```ts
   * await vm.dirtyMemory.startTracking('migration')
   * for (const { name, bytes } of vm.blocks) {
   *   const words = new BigUint64Array(Math.ceil(bytes / vm.pageSize / 64))
   *   await vm.dirtyMemory.readBitmap('migration', name, words, { take: true })
   * }
   * await vm.dirtyMemory.stopTracking('migration')
   * ```
   */
  async readBitmap(
    client: Client,
    block: string,
    into: OwnBigUint64Array,
    options: { take?: boolean | undefined } = {},
  ): Promise<number> {
    const take = parseFlag(parseOptions(options, READ).take ?? false, 'take')
    this.#known(client)
    parseText(block, 'block')
    parseArray(into, 'BigUint64Array', 'into')
    const room = into.length
    const copy = (): Promise<number> => this.#copyBitmap(client, block, into, room, take)
    return take ? this.#change(client, copy) : copy()
  }

  async #copyBitmap(
    client: Client,
    block: string,
    into: BigUint64Array<ArrayBuffer>,
    room: number,
    take: boolean,
  ): Promise<number> {
    const bitmap = await callNative(() => this.#vm.copyBitmap(client, block, room, take))
    try {
      for (let at = 0; at < bitmap.words; at += WORDS_AT_ONCE) {
        if (at > 0) await new Promise(resolve => setImmediate(resolve))
        if (into.length < bitmap.words) throw transferredAway()
        bitmap.read(at, into.subarray(at, at + WORDS_AT_ONCE))
      }
    } catch (error) {
      if (take) await callNative(() => this.#vm.putBack(bitmap))
      throw error
    }
    return bitmap.words
  }

  /**
   * The client's dirty pages of one block as runs. Each run is two numbers: its first page, counted
   * from the block's start, and its number of pages. Resolves with the runs at and after page
   * `from` (default 0), at most `limit` of them (default all). Rejects with ERR_ARGUMENT.
   */
  async ranges(
    client: Client,
    block: string,
    options: { from?: number | undefined; limit?: number | undefined } = {},
  ): Promise<OwnUint32Array> {
    this.#known(client)
    parseText(block, 'block')
    const { from = 0, limit = Number.MAX_SAFE_INTEGER } = parseOptions(options, RANGES)
    parseCount(from, 'from', 0)
    parseCount(limit, 'limit', 0)
    return (await callNative(() => this.#vm.ranges(client, block, from, limit))) as OwnUint32Array
  }

  /**
   * Counts the dirty pages of each 2 MiB region of one block into `into`. Resolves with the number
   * of regions. Rejects with ERR_ARGUMENT.
   */
  async heat(client: Client, block: string, into: OwnUint32Array): Promise<number> {
    this.#known(client)
    parseText(block, 'block')
    parseArray(into, 'Uint32Array', 'into')
    const counts = await callNative(() => this.#vm.heat(client, block, into.length))
    if (into.length < counts.length) throw transferredAway()
    into.set(counts)
    return counts.length
  }

  #isTracking(client: Client): boolean {
    return callNative(() => this.#vm.isTracking(client))
  }

  #known(client: Client): void {
    parseChoice(client, 'client', clients)
  }

  /**
   * Notes that the client is empty. If its user has stopped, the next measurement can use
   * 'dirty-rate' again.
   */
  #emptied(client: Client): void {
    if (client === 'dirty-rate' && !this.#isTracking(client)) this.#dirtyRate.emptied()
  }

  /**
   * Makes a call that changes the client, when the calls before it have taken effect. Rejects if a
   * measurement owns the client.
   */
  #change<T>(client: Client, call: () => Promise<T>): Promise<T> {
    this.#known(client)
    return this.#inOrder(async () => {
      if (client === 'dirty-rate') this.#dirtyRate.requireFree()
      return call()
    })
  }

  #inOrder<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#order.run(() => callNative(call), signal)
  }
}

function notTracking(client: Client): DirtyRateError {
  const start = client === 'vga' ? "setLogMask('ram', true)" : `startTracking('${client}')`
  return new DirtyRateError('ERR_STATE', `${client} does not track`, {
    hint: `Call ${start}, discardInitialLog() and clear('${client}') first: they open its window.`,
  })
}

function transferredAway(): DirtyRateError {
  return argumentError(
    'into: it was transferred away, or shrank, before it was filled',
    'Keep the buffer until the promise has settled.',
  )
}
