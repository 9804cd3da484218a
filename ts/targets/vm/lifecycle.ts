/** The changes of a VM's state, and its end. */

// Another realm, such as that of Jest, may not have these as globals.
import { clearInterval, setInterval } from 'node:timers'
import { Emitter } from '../../measurement/events.js'

/** The state of a VM. `crashed` means that a vCPU ended unexpectedly; `vm.crash` says how. */
export type VirtualMachineState = 'created' | 'running' | 'paused' | 'shutdown' | 'crashed' | 'closed'

/** The states in which a guest has ended. */
export type EndState = 'shutdown' | 'crashed' | 'closed'

/** A change of a VM's state. */
export interface StateChange {
  readonly from: VirtualMachineState
  readonly to: VirtualMachineState
}

/**
 * How often the state is checked, in ms, while there is a listener. Only the end of a guest by
 * itself is noticed in this way, because a call that changes the state reports the change at once.
 */
const LOOK_EVERY_MS = 20

const isEnd = (state: VirtualMachineState): state is EndState =>
  state === 'shutdown' || state === 'crashed' || state === 'closed'

/** Calls listeners when the state of a VM changes. */
export class Lifecycle {
  readonly #state: () => VirtualMachineState
  readonly #events: Emitter<{ change: StateChange }> = new Emitter()
  /** How many listeners there are. */
  #listeners = 0
  #last: VirtualMachineState
  #timer: NodeJS.Timeout | undefined
  #ended: Promise<EndState> | undefined
  /** How the guest ended. A VM that is closed after that has ended in that way all the same. */
  #end: EndState | undefined

  constructor(state: () => VirtualMachineState) {
    this.#state = state
    this.#last = state()
    if (isEnd(this.#last)) this.#end = this.#last
  }

  /** Calls `listener` at each change from now on. The returned function removes it. It does not keep the process alive. */
  onChange(listener: (change: StateChange) => void): () => void {
    this.look()
    const remove = this.#events.on('change', listener)
    this.#listeners += 1
    this.#watch()
    let isRemoved = false
    return () => {
      if (isRemoved) return
      isRemoved = true
      remove()
      this.#listeners -= 1
      if (this.#listeners === 0) this.#stop()
    }
  }

  /**
   * The end of the guest; this is the same promise each time. Waiting for it keeps the process
   * alive.
   */
  get ended(): Promise<EndState> {
    this.#ended ??= new Promise(resolve => {
      this.look()
      if (this.#end !== undefined) return resolve(this.#end)
      const alive = setInterval(() => this.look(), LOOK_EVERY_MS)
      const leave = this.onChange(() => {
        if (this.#end === undefined) return
        clearInterval(alive)
        leave()
        resolve(this.#end)
      })
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
    if (to === 'closed') this.#stop()
    this.#events.emit('change', Object.freeze({ from, to }))
  }

  #watch(): void {
    if (this.#timer !== undefined || this.#last === 'closed') return
    this.#timer = setInterval(() => this.look(), LOOK_EVERY_MS)
    this.#timer.unref()
  }

  #stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
