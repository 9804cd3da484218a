/** Notices that a process is stopped, goes on, or has ended. */

import { clearInterval, setInterval } from 'node:timers'
import { hasCode } from '../../ground/errors.js'
import { callNative, type NativeProcess } from '../../ground/native.js'
import { isStopped } from '../../ground/proc.js'
import { Emitter } from '../../measurement/events.js'
import type { TargetStateChange } from '../target.js'

/** How often the process is looked at, in ms: a look is a few system calls. */
const LOOK_MS = 500

type State = 'running' | 'paused' | 'closed'

/** Looks at a process for as long as there is a listener. */
export class StateWatch {
  readonly #pid: number
  readonly #process: NativeProcess
  readonly #events: Emitter<{ change: TargetStateChange }> = new Emitter()
  #listeners = 0
  #timer: ReturnType<typeof setInterval> | undefined
  #last: State = 'running'

  constructor(pid: number, process: NativeProcess) {
    this.#pid = pid
    this.#process = process
  }

  /** Calls `listener` at each change; it does not keep the process of the caller alive. */
  onChange(listener: (change: TargetStateChange) => void): () => void {
    if (this.#timer === undefined) {
      this.#last = this.#state()
      this.#timer = setInterval(() => this.#look(), LOOK_MS).unref()
    }
    const remove = this.#events.on('change', listener)
    this.#listeners++
    let isRemoved = false
    return () => {
      if (isRemoved) return
      isRemoved = true
      remove()
      if (--this.#listeners === 0) this.stop()
    }
  }

  /** Looks no more. */
  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #look(): void {
    const [from, to] = [this.#last, this.#state()]
    if (from === to) return
    this.#last = to
    if (to === 'closed') this.stop()
    this.#events.emit('change', Object.freeze({ from, to }))
  }

  #state(): State {
    try {
      callNative(() => this.#process.check())
    } catch (error) {
      // Any other error says nothing about the state.
      return hasCode(error, 'ERR_TARGET_GONE') ? 'closed' : this.#last
    }
    return isStopped(this.#pid) ? 'paused' : 'running'
  }
}
