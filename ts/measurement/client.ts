/**
 * Who has the client DIRTY_RATE of one VM. The first measurement takes it; one that runs beside it, or beside a user who drives the
 * five steps by hand, gets an accumulator of its own from the sync's fan-out, and so each its own right answer.
 */

import type { NativeVirtualMachine } from '../native.js'

/** A client for one measurement, and the way to give it back: its flag and bits are gone then, and no other client has lost one. */
export interface AcquiredClient {
  client: string
  giveBack(): Promise<void>
}

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

  /** The client DIRTY_RATE if it is free, and otherwise an accumulator. */
  acquire(vm: NativeVirtualMachine): AcquiredClient {
    if (this.#holder !== 'nobody') return accumulator(vm)
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

/** An accumulator: for what tracks for long and would keep others from the client DIRTY_RATE. */
export function accumulator(vm: NativeVirtualMachine): AcquiredClient {
  const client = vm.openAccumulator()
  return { client, giveBack: () => vm.abandon(client) }
}
