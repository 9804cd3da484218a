/**
 * Who has the client DIRTY_RATE of one VM. The first measurement takes it; one that runs beside it, or beside a user who drives the
 * five steps by hand, gets an accumulator of its own from the sync's fan-out, and so each its own right answer.
 */

import type { NativeVirtualMachine } from '../native.js'

export class DirtyRateClient {
  #holder: 'nobody' | 'user' | 'measurement' = 'nobody'

  /** Whether a measurement has it: then nobody else may start, stop or empty it. */
  get measuring(): boolean {
    return this.#holder === 'measurement'
  }

  /** The user tracks with it by hand. */
  takeForUser(): void {
    this.#holder = 'user'
  }

  release(): void {
    this.#holder = 'nobody'
  }

  /** A client for one measurement, and the way to give it back: its flag and bits are gone then, and no other client has lost one. */
  acquire(vm: NativeVirtualMachine): { client: string; giveBack: () => Promise<void> } {
    if (this.#holder !== 'nobody') {
      const client = vm.openAccumulator()
      return { client, giveBack: () => vm.abandon(client) }
    }
    this.#holder = 'measurement'
    const giveBack = async (): Promise<void> => {
      try {
        await vm.abandon('dirty-rate')
      } finally {
        this.release()
      }
    }
    return { client: 'dirty-rate', giveBack }
  }
}
