/**
 * A list that only grows at its end and loses its oldest items. Each append gives a new list, and
 * the lists share their items, so that a state can be kept or compared at the price of an append.
 */

/** Items are kept in chunks, and the oldest chunk is dropped as a whole. */
const CHUNK = 256

export class Log<T> {
  readonly #chunks: readonly T[][]
  /** How many items of the last chunk belong to this list. */
  readonly #inLast: number

  private constructor(chunks: readonly T[][], inLast: number) {
    this.#chunks = chunks
    this.#inLast = inLast
  }

  static empty<T>(): Log<T> {
    return new Log<T>([[]], 0)
  }

  get length(): number {
    return (this.#chunks.length - 1) * CHUNK + this.#inLast
  }

  at(index: number): T | undefined {
    const from = index < 0 ? this.length + index : index
    if (from < 0 || from >= this.length) return undefined
    return this.#chunks[Math.floor(from / CHUNK)]?.[from % CHUNK]
  }

  append(item: T): Log<T> {
    let last = this.#chunks.at(-1) ?? []
    if (this.#inLast === CHUNK) return new Log([...this.#chunks, [item]], 1)
    // Another list may have grown from this one already: then its item stays its own.
    const isShared = last.length > this.#inLast
    if (isShared) last = last.slice(0, this.#inLast)
    last.push(item)
    const chunks = isShared ? [...this.#chunks.slice(0, -1), last] : this.#chunks
    return new Log(chunks, this.#inLast + 1)
  }

  /** Drops whole chunks of the oldest items for as long as `most` items or more are left. */
  keep(most: number): Log<T> {
    let dropped = 0
    while (this.length - (dropped + 1) * CHUNK >= most) dropped++
    return dropped === 0 ? this : new Log(this.#chunks.slice(dropped), this.#inLast)
  }

  /** The index of the first item for which `isLate` holds, if it holds for all items after it. */
  firstWhere(isLate: (item: T) => boolean): number {
    let low = 0
    let high = this.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (isLate(this.at(middle) as T)) high = middle
      else low = middle + 1
    }
    return low
  }

  slice(from = 0, to: number = this.length): T[] {
    const items: T[] = []
    for (let at = Math.max(from, 0); at < Math.min(to, this.length); at++)
      items.push(this.at(at) as T)
    return items
  }
}
