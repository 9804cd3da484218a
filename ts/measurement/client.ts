/**
 * Who has the client DIRTY_RATE of one VM. The first measurement takes it. A measurement that runs beside another, or beside a user who
 * calls the five steps by hand, gets an accumulator of its own from the sync's fan-out, so that each has its own right answer.
 */

import type { CallOrder } from '../call-order.js'
import { DirtyRateError } from '../errors.js'
import type { NativeVirtualMachine } from '../native.js'

/** A client for one measurement, and the way to give it back: its flag and bits are gone then, and no other client has lost one. */
export interface AcquiredClient {
  client: string
  giveBack(): Promise<void>
}

export class DirtyRateClient {
  readonly #vm: NativeVirtualMachine
  readonly #order: CallOrder
  #holder: 'nobody' | 'user' | 'measurement' = 'nobody'

  /** `order` is that of all calls which change what a client of the VM has. */
  constructor(vm: NativeVirtualMachine, order: CallOrder) {
    this.#vm = vm
    this.#order = order
  }

  /** Throws ERR_MEASURING while a measurement has it: then nobody else may start, stop or empty it. */
  requireFree(): void {
    if (this.#holder === 'measurement') {
      throw new DirtyRateError('ERR_MEASURING', "a measurement owns the client 'dirty-rate'")
    }
  }

  /** The user tracks with it by hand from here on. To be called in the order of the VM's calls. */
  takeForUser(): void {
    this.requireFree()
    this.#holder = 'user'
  }

  /** To be called in the order of the VM's calls. */
  release(): void {
    this.#holder = 'nobody'
  }

  /**
   * The client DIRTY_RATE if it is free when every call before this one has taken effect, and otherwise an accumulator. Rejects with the
   * signal's reason if it is aborted before.
   */
  acquire(signal: AbortSignal): Promise<AcquiredClient> {
    return this.#order.run(async () => {
      if (this.#holder !== 'nobody') return accumulator(this.#vm)
      this.#holder = 'measurement'
      return { client: 'dirty-rate', giveBack: () => this.#order.run(() => this.#giveBack()) }
    }, signal)
  }

  async #giveBack(): Promise<void> {
    try {
      await this.#vm.abandon('dirty-rate')
    } finally {
      this.release()
    }
  }
}

/** An accumulator: for what tracks for long and would keep others from the client DIRTY_RATE. */
export function accumulator(vm: NativeVirtualMachine): AcquiredClient {
  const client = vm.openAccumulator()
  return { client, giveBack: () => vm.abandon(client) }
}
