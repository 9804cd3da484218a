/** The last results of a VM, and no more of them than were asked for. */

export class History<T> {
  readonly #size: number
  readonly #entries: T[] = []

  /** `size` 0 keeps none. */
  constructor(size: number) {
    this.#size = size
  }

  add(entry: T): void {
    this.#entries.push(entry)
    if (this.#entries.length > this.#size) this.#entries.shift()
  }

  /** Oldest first: a list of its own, which does not change later. */
  entries(): T[] {
    return [...this.#entries]
  }
}
