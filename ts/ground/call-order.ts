import type { Signal } from './abort.js'

/**
 * Makes calls one after the other, in the order in which a program made them. Each native call runs
 * on a thread of its own, so without this the calls `stop()` and `start()` of a program that awaits
 * neither would take effect in whatever order their threads happen to run.
 */
export class CallOrder {
  #last: Promise<unknown> = Promise.resolve()

  /**
   * Makes `call` when every call before it has been fulfilled or rejected. The next call waits for
   * this one. If `signal` is aborted while the call waits, this rejects at once with
   * `signal.reason`, and the call is not made.
   */
  run<T>(call: () => Promise<T>, signal?: Signal): Promise<T> {
    const done = this.after(call, signal)
    // A call that was aborted while it waited has settled before its turn; the calls behind it
    // still wait for those before it. The promise resolves to undefined, because a result in it
    // would keep the results of all earlier calls alive.
    this.#last = Promise.all([this.#last, done.catch(() => undefined)]).then(() => undefined)
    return done
  }

  /**
   * Does what {@link run} does, but the next call does not wait for this one. It is for calls that
   * only have to see the effect of the calls before them.
   */
  after<T>(call: () => Promise<T>, signal?: Signal): Promise<T> {
    const turn = this.#last
    if (signal === undefined) return turn.then(call)
    return new Promise<T>((resolve, reject) => {
      const abort = (): void => reject(signal.reason)
      signal.addEventListener('abort', abort, { once: true })
      if (signal.aborted) abort()
      const atTurn = async (): Promise<T> => {
        signal.removeEventListener('abort', abort)
        signal.throwIfAborted()
        return call()
      }
      // If the call throws at once, this promise must reject too, because nothing else handles the
      // promise of the turn.
      turn.then(atTurn).then(resolve, reject)
    })
  }
}
