/** Holds the state, and tells the page at most ten times a second that it has changed. */

import { reduceAll } from './reduce.js'
import { emptyState, type PageEvent, type State } from './state.js'

/** The page is drawn no more often than this. */
const SHORTEST_MS = 95

export class Store {
  #state: State = emptyState
  #listeners = new Set<() => void>()
  #toldAt = 0
  #isPlanned = false

  get state(): State {
    return this.#state
  }

  add(events: readonly PageEvent[]): void {
    this.#state = reduceAll(this.#state, events)
    this.#changed()
  }

  /** Takes what another one has. */
  become({ state }: Store): void {
    this.#state = state
    this.#changed()
  }

  /** Forgets everything, for another server or another recording. */
  clear(): void {
    this.#state = emptyState
    this.#changed()
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #changed(): void {
    if (this.#isPlanned) return
    this.#isPlanned = true
    const wait = Math.max(this.#toldAt + SHORTEST_MS - performance.now(), 0)
    setTimeout(() => requestAnimationFrame(() => this.#tell()), wait)
  }

  #tell(): void {
    this.#isPlanned = false
    this.#toldAt = performance.now()
    for (const listener of this.#listeners) listener()
  }
}
