/**
 * Decides who may use the client DIRTY_RATE of one VM. The first measurement takes it. A
 * measurement that runs beside another one, or beside a user who calls the five steps by hand, gets
 * an accumulator, which is one more client, so that each of them has its own right answer.
 */

import type { Signal } from '../../ground/abort.js'
import type { CallOrder } from '../../ground/call-order.js'
import { DirtyRateError } from '../../ground/errors.js'
import type { NativeVirtualMachine } from '../../ground/native.js'

/**
 * A client for one measurement, and a function that gives it back, which drops its flag and its
 * bits and changes no other client.
 */
export interface AcquiredClient {
  client: string
  giveBack(): Promise<void>
}

export class DirtyRateClient {
  readonly #vm: NativeVirtualMachine
  readonly #order: CallOrder
  /**
   * Who has the client. `kept` means that the user has stopped, but the client still has the user's
   * bits, which can be reaped.
   */
  #holder: 'nobody' | 'user' | 'kept' | 'measurement' = 'nobody'
  /** How many measurements run in an accumulator because the client is `kept`. */
  #standIns = 0

  /** `order` is the order of all calls that change the clients of the VM. */
  constructor(vm: NativeVirtualMachine, order: CallOrder) {
    this.#vm = vm
    this.#order = order
  }

  /**
   * Throws ERR_MEASURING while a measurement has the client, because then the user may not start,
   * stop or empty it.
   */
  requireFree(): void {
    if (this.#holder === 'measurement' || this.standsIn) {
      throw new DirtyRateError('ERR_MEASURING', "a measurement owns the client 'dirty-rate'")
    }
  }

  /**
   * Notes that the user tracks with the client by hand from now on. Returns a function that undoes
   * this. Call it in the order of the VM's calls.
   */
  takeForUser(): () => void {
    this.requireFree()
    const before = this.#holder
    this.#holder = 'user'
    return () => {
      this.#holder = before
    }
  }

  /**
   * Notes that the user has stopped, and keeps the client until the bits are taken or cleared. Call
   * it in the order of the VM's calls.
   */
  keepForUser(): void {
    if (this.#holder === 'user') this.#holder = 'kept'
  }

  /** Notes that the bits were taken or cleared. Call it in the order of the VM's calls. */
  emptied(): void {
    if (this.#holder === 'kept') this.#holder = 'nobody'
  }

  /** Whether a measurement runs in an accumulator because the client is `kept`. */
  get standsIn(): boolean {
    return this.#standIns > 0
  }

  /**
   * Waits until every call before this one has taken effect. Resolves with the client DIRTY_RATE if
   * it is free then, and otherwise with an accumulator. Rejects with the signal's reason if it is
   * aborted before.
   */
  acquire(signal: Signal): Promise<AcquiredClient> {
    return this.#order.run(async () => {
      if (this.#holder === 'kept') return this.#standIn()
      if (this.#holder !== 'nobody') return accumulator(this.#vm)
      this.#holder = 'measurement'
      return { client: 'dirty-rate', giveBack: () => this.#order.run(() => this.#giveBack()) }
    }, signal)
  }

  #standIn(): AcquiredClient {
    const { client, giveBack } = accumulator(this.#vm)
    this.#standIns += 1
    return {
      client,
      giveBack: async () => {
        this.#standIns -= 1
        await giveBack()
      },
    }
  }

  async #giveBack(): Promise<void> {
    try {
      await this.#vm.abandon('dirty-rate')
    } finally {
      this.#holder = 'nobody'
    }
  }
}

/**
 * Opens an accumulator, for measurements that track for a long time and would block the client
 * DIRTY_RATE.
 */
export function accumulator(vm: NativeVirtualMachine): AcquiredClient {
  const client = vm.openAccumulator()
  return { client, giveBack: () => vm.abandon(client) }
}
