/** The changes of a VM's state, and its end. */

// Another realm, such as that of Jest, may not have these as globals.
import { clearInterval, setInterval } from 'node:timers'
import { Emitter } from '../../measurement/events.js'

/** The state of a VM. `crashed` means that a vCPU ended unexpectedly; `vm.crash` says how. */
export type VirtualMachineState =
  | 'created'
  | 'running'
  | 'paused'
  | 'shutdown'
  | 'crashed'
  | 'closed'

/** The states in which a guest has ended. */
export type EndState = 'shutdown' | 'crashed' | 'closed'

/** A change of a VM's state. */
export interface StateChange {
  readonly from: VirtualMachineState
  readonly to: VirtualMachineState
}

/** Node's longest time for a timer, in ms. */
const LONGEST_MS = 2 ** 31 - 1

/**
 * The VMs that have a listener. This set keeps the garbage collector from taking them if nothing
 * else refers to them, because a collected VM ends its guest.
 */
const awaited = new Set<Lifecycle>()

const isEnd = (state: VirtualMachineState): state is EndState =>
  state === 'shutdown' || state === 'crashed' || state === 'closed'

/** Calls listeners when the state of a VM changes. */
export class Lifecycle {
  readonly #state: () => VirtualMachineState
  readonly #events: Emitter<{ change: StateChange }> = new Emitter()
  /** How many listeners there are. */
  #listeners = 0
  #last: VirtualMachineState
  readonly #whenEnded: (call: () => void) => void
  #hearsOfTheEnd = false
  #ended: Promise<EndState> | undefined
  /** How the guest ended. A VM that is closed after that has ended in that way all the same. */
  #end: EndState | undefined

  /**
   * `whenEnded` takes a function and calls it once the guest has ended, even by itself. Changes
   * that a call makes are noticed by {@link look}, after the call.
   */
  constructor(state: () => VirtualMachineState, whenEnded: (call: () => void) => void) {
    this.#state = state
    this.#last = state()
    if (isEnd(this.#last)) this.#end = this.#last
    this.#whenEnded = whenEnded
  }

  /**
   * Calls `listener` at each change from now on. The returned function removes it. It does not keep
   * the process alive.
   */
  onChange(listener: (change: StateChange) => void): () => void {
    this.#hearOfTheEnd()
    this.look()
    const remove = this.#events.on('change', listener)
    this.#listeners += 1
    if (this.#last !== 'closed') awaited.add(this)
    let isRemoved = false
    return () => {
      if (isRemoved) return
      isRemoved = true
      remove()
      this.#listeners -= 1
      if (this.#listeners === 0) awaited.delete(this)
    }
  }

  /**
   * The end of the guest; this is the same promise each time. Waiting for it keeps the process
   * alive.
   */
  get ended(): Promise<EndState> {
    this.#ended ??= new Promise(resolve => {
      const alive = setInterval(() => {}, LONGEST_MS)
      const settle = (): void => {
        if (this.#end === undefined) return
        clearInterval(alive)
        leave()
        resolve(this.#end)
      }
      const leave = this.onChange(settle)
      // The guest may have ended before there was a listener.
      settle()
    })
    return this.#ended
  }

  /** Checks the state now, after a call that may have changed it. */
  look(): void {
    const [from, to] = [this.#last, this.#state()]
    if (from === to) return
    this.#last = to
    if (isEnd(to)) this.#end ??= to
    // After `closed` nothing changes, and `shutdown` or `crashed` change only to that.
    if (to === 'closed') awaited.delete(this)
    this.#events.emit('change', Object.freeze({ from, to }))
  }

  /**
   * Learns of the end of the guest, from the first listener on. The native machine keeps the
   * function that it will call, so this function must not keep the VM.
   */
  #hearOfTheEnd(): void {
    if (this.#hearsOfTheEnd || this.#state() === 'closed') return
    this.#hearsOfTheEnd = true
    const self = new WeakRef(this)
    this.#whenEnded(() => self.deref()?.look())
  }
}
