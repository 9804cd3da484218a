/**
 * Who has the client DIRTY_RATE of one VM. The first measurement takes it. A measurement that runs beside another, or beside a user who
 * calls the five steps by hand, gets an accumulator of its own from the sync's fan-out, so that each has its own right answer.
 */

import type { CallOrder } from '../../ground/call-order.js'
import { DirtyRateError } from '../../ground/errors.js'
import type { NativeVirtualMachine } from '../../ground/native.js'

/** A client for one measurement, and the way to give it back: its flag and bits are gone then, and no other client has lost one. */
export interface AcquiredClient {
  client: string
  giveBack(): Promise<void>
}

export class DirtyRateClient {
  readonly #vm: NativeVirtualMachine
  readonly #order: CallOrder
  /**
   * `kept`: the user has stopped, and the client still has the user's bits, which can be reaped.
   */
  #holder: 'nobody' | 'user' | 'kept' | 'measurement' = 'nobody'
  /** Measurements that run in an accumulator because the client is `kept`. */
  #standIns = 0

  /** `order` is that of all calls which change what a client of the VM has. */
  constructor(vm: NativeVirtualMachine, order: CallOrder) {
    this.#vm = vm
    this.#order = order
  }

  /** Throws ERR_MEASURING while a measurement has it: then nobody else may start, stop or empty it. */
  requireFree(): void {
    if (this.#holder === 'measurement' || this.standsIn) {
      throw new DirtyRateError('ERR_MEASURING', "a measurement owns the client 'dirty-rate'")
    }
  }

  /**
   * The user tracks with the client by hand from here on. Returns what undoes that. To be called in
   * the order of the VM's calls.
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
   * The user has stopped, and keeps the client until the bits are taken or cleared. To be called in
   * the order of the VM's calls.
   */
  keepForUser(): void {
    if (this.#holder === 'user') this.#holder = 'kept'
  }

  /** The bits were taken or cleared. To be called in the order of the VM's calls. */
  emptied(): void {
    if (this.#holder === 'kept') this.#holder = 'nobody'
  }

  /** Whether a measurement runs in an accumulator because the client is `kept`. */
  get standsIn(): boolean {
    return this.#standIns > 0
  }

  /**
   * The client DIRTY_RATE if it is free when every call before this one has taken effect, and otherwise an accumulator. Rejects with the
   * signal's reason if it is aborted before.
   */
  acquire(signal: AbortSignal): Promise<AcquiredClient> {
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

/** An accumulator: for what tracks for long and would keep others from the client DIRTY_RATE. */
export function accumulator(vm: NativeVirtualMachine): AcquiredClient {
  const client = vm.openAccumulator()
  return { client, giveBack: () => vm.abandon(client) }
}
