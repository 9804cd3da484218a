/** The measurements under way on one VM: who owns which client, what ends one early, and that each cleans up behind itself. */

import { DirtyRateError, fromNative, hasCode } from '../errors.js'
import { emit } from '../log.js'
import { type CancelToken, callNative, type NativeVirtualMachine } from '../native.js'
import type { DirtyRateClient } from './client.js'
import { type BitmapRound, measureByDirtyBitmap } from './dirty-bitmap.js'

/** Where its events come from, as the core names its modules. */
const TARGET = 'dirtyrate::measurement'

/** Ends a sentence about what ended a measurement. */
export const WITHIN = 'within the window'

/** What a native call fails with when the guest no longer runs. */
const NOT_RUNNING = ['ERR_STATE', 'ERR_PAUSED', 'ERR_GUEST_CRASHED'] as const

/** Throws unless the VM runs: ERR_STATE, ERR_PAUSED, ERR_GUEST_CRASHED, ERR_CLOSED. `when` ends the sentence. */
export function requireRunning(vm: NativeVirtualMachine, when: string): void {
  switch (vm.state) {
    case 'running':
      return
    case 'created':
      throw new DirtyRateError('ERR_STATE', `the VM has not been started ${when}`, {
        hint: 'Call load(), then start().',
      })
    case 'paused':
      throw new DirtyRateError('ERR_PAUSED', `the VM was paused ${when}`)
    case 'shutdown':
      throw new DirtyRateError('ERR_STATE', `the VM was shut down ${when}`, {
        hint: 'Create a new VirtualMachine: one that was shut down does not start again.',
      })
    case 'crashed':
      throw crashError(vm, when)
    default:
      throw new DirtyRateError('ERR_CLOSED', `the VM is closed ${when}`)
  }
}

function crashError(vm: NativeVirtualMachine, when: string): DirtyRateError {
  const { crash } = vm
  const what = crash
    ? `vCPU ${crash.vcpu}: ${crash.reason}${crash.instructionPointer ? `, rip ${crash.instructionPointer}` : ''}`
    : 'no vCPU is left'
  return new DirtyRateError('ERR_GUEST_CRASHED', `the guest crashed ${when}: ${what}`)
}

/** One measurement's early end, by whatever comes first. */
class Interruption {
  readonly token: CancelToken
  #reason: { error: unknown } | undefined

  constructor(token: CancelToken) {
    this.token = token
  }

  interrupt(error: unknown): void {
    if (this.#reason !== undefined) return
    this.#reason = { error }
    this.token.cancel()
  }

  /** Throws what it was interrupted with, if it was. */
  check(): void {
    if (this.#reason !== undefined) throw this.#reason.error
  }
}

export class Measurements {
  readonly #vm: NativeVirtualMachine
  readonly #newToken: () => CancelToken
  readonly #dirtyRate: DirtyRateClient
  readonly #running = new Map<Interruption, Promise<unknown>>()

  constructor(vm: NativeVirtualMachine, newToken: () => CancelToken, dirtyRate: DirtyRateClient) {
    this.#vm = vm
    this.#newToken = newToken
    this.#dirtyRate = dirtyRate
  }

  /**
   * Measures one window. Whatever ends it, logging is off afterwards unless somebody else tracks. Rejects with `signal.reason`, with
   * what {@link requireRunning} throws when the VM is not running at either end, and with ERR_KVM_IOCTL.
   */
  async measure(windowMs: number, signal?: AbortSignal): Promise<BitmapRound> {
    signal?.throwIfAborted()
    requireRunning(this.#vm, 'when the measurement began')
    const interruption = new Interruption(this.#newToken())
    const onAbort = (): void => interruption.interrupt(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    const round = this.#measureWithClient(windowMs, interruption)
    this.#running.set(interruption, round)
    try {
      const result = await round
      interruption.check()
      return result
    } catch (error) {
      interruption.check()
      // The native thread looks at the vCPUs while it waits: say what happened in the same words, and with the same hints, as at the start.
      if (NOT_RUNNING.some(code => hasCode(error, code))) requireRunning(this.#vm, WITHIN)
      throw fromNative(error)
    } finally {
      this.#running.delete(interruption)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** Ends every measurement with `error`; resolves when each has cleaned up. */
  async interruptAll(error: DirtyRateError): Promise<void> {
    for (const interruption of this.#running.keys()) interruption.interrupt(error)
    await Promise.allSettled(this.#running.values())
  }

  async #measureWithClient(windowMs: number, interruption: Interruption): Promise<BitmapRound> {
    const { client, giveBack } = callNative(() => this.#dirtyRate.acquire(this.#vm))
    emit('debug', TARGET, 'measurement began', { client, windowMs })
    try {
      const round = await measureByDirtyBitmap(this.#vm, client, windowMs, interruption.token)
      emit('debug', TARGET, 'measurement done', {
        client,
        pages: round.reap.pages,
        windowNs: round.reap.windowNs,
      })
      return round
    } catch (error) {
      emit('debug', TARGET, 'measurement ended early', { client, error })
      throw error
    } finally {
      await giveBack()
    }
  }
}
