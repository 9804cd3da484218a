/**
 * Gives tasks to the worker, one at a time. A newer task takes the place of an older one with the
 * same key, and what is asked about the chosen VM goes before what the overview asks.
 */

import type { Answer, Task } from './tasks.js'

type Wanted = Task extends infer One ? (One extends Task ? Omit<One, 'id'> : never) : never

interface Waiting {
  readonly task: Wanted
  readonly told: (answer: Answer) => void
}

/** An answer that nobody wants is waited for so long, and then its worker is ended. */
const PATIENCE_MS = 150

export class Predictor {
  readonly #make: () => Worker
  #worker: Worker | undefined
  readonly #waiting = new Map<string, Waiting>()
  #running: (Waiting & { key: string; id: number; since: number }) | undefined
  #id = 0

  constructor(make: () => Worker) {
    this.#make = make
  }

  /** Asks in place of an older task with this key. `told` gets each answer. */
  ask(key: string, task: Wanted, told: (answer: Answer) => void): void {
    // A task goes to the end of those that wait.
    this.#waiting.delete(key)
    this.#waiting.set(key, { task, told })
    this.#giveUp(key)
    this.#next()
  }

  /** Nobody wants the answers to this key any more. */
  forget(key: string): void {
    this.#waiting.delete(key)
    this.#giveUp(key)
    this.#next()
  }

  #giveUp(key: string): void {
    if (this.#running?.key !== key) return
    this.#running = { ...this.#running, told: () => {} }
    if (performance.now() - this.#running.since < PATIENCE_MS) {
      const { id } = this.#running
      setTimeout(() => {
        if (this.#running?.id === id) this.#end()
      }, PATIENCE_MS)
      return
    }
    this.#end()
  }

  /** Ends the worker with what it computes. */
  #end(): void {
    this.#worker?.terminate()
    this.#worker = undefined
    this.#running = undefined
    this.#next()
  }

  #next(): void {
    if (this.#running !== undefined) return
    const keys = [...this.#waiting.keys()]
    const key = keys.find(one => this.#waiting.get(one)?.task.kind !== 'verdict') ?? keys[0]
    const waiting = key === undefined ? undefined : this.#waiting.get(key)
    if (key === undefined || waiting === undefined) return
    this.#waiting.delete(key)
    const id = ++this.#id
    this.#running = { ...waiting, key, id, since: performance.now() }
    if (this.#worker === undefined) {
      this.#worker = this.#make()
      this.#worker.onmessage = ({ data }: MessageEvent<Answer>) => this.#answered(data)
      this.#worker.onerror = () => {
        this.#running?.told({ id, kind: 'error', message: 'The predictor failed.' })
        this.#end()
      }
    }
    this.#worker.postMessage({ ...waiting.task, id })
  }

  #answered(answer: Answer): void {
    const running = this.#running
    if (running === undefined || answer.id !== running.id) return
    const isLast = answer.kind === 'done' || answer.kind === 'error'
    if (isLast) this.#running = undefined
    running.told(answer)
    if (isLast) this.#next()
  }
}
