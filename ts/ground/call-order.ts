/**
 * Makes calls one after the other, in the order in which a program made them. Each native call runs on a thread of its own, so without
 * this the calls `stop()` and `start()` of a program that awaits neither would take effect in whatever order their threads happen to run.
 */
export class CallOrder {
  #last: Promise<unknown> = Promise.resolve()

  /**
   * Makes `call` when every call before it has settled, whatever became of it; the next one waits for this one. An abort while it waits
   * rejects at once with `signal.reason`, and the call is not made.
   */
  run<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const done = this.after(call, signal)
    // A call that was aborted while it waited has settled before its turn; the calls behind it still wait for those before it.
    // The promise resolves to undefined, because one of both results would keep the results of all calls alive.
    this.#last = Promise.all([this.#last, done.catch(() => undefined)]).then(() => undefined)
    return done
  }

  /** As {@link run}, but the next call does not wait for this one: for a call that only has to see what the ones before it did. */
  after<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
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
      // A call that throws at once rejects this too: nobody looks at the promise of the turn.
      turn.then(atTurn).then(resolve, reject)
    })
  }
}
