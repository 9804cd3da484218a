/** A queue, from which taking the first element costs the same however long it is. */

export class Queue<T> {
  #elements: (T | undefined)[] = []
  #first = 0

  get length(): number {
    return this.#elements.length - this.#first
  }

  push(element: T): void {
    this.#elements.push(element)
  }

  peek(): T | undefined {
    return this.#elements[this.#first]
  }

  shift(): T | undefined {
    if (this.length === 0) return undefined
    const element = this.#elements[this.#first]
    this.#elements[this.#first++] = undefined
    if (this.#first * 2 > this.#elements.length) {
      this.#elements = this.#elements.slice(this.#first)
      this.#first = 0
    }
    return element
  }
}
