/** The last results of a target, up to a given number. */

/** How many results a target keeps, unless its maker says another number. */
export const DEFAULT_HISTORY = 100

export class History<T> {
  #size: number
  readonly #entries: T[] = []

  /** `size` 0 keeps none. */
  constructor(size: number) {
    this.#size = size
  }

  add(entry: T): void {
    this.#entries.push(entry)
    this.limit(this.#size)
  }

  /** Keeps at most so many from now on. */
  limit(size: number): void {
    this.#size = size
    this.#entries.splice(0, this.#entries.length - size)
  }

  /** A copy of the list, oldest first, which does not change later. */
  entries(): T[] {
    return [...this.#entries]
  }
}
