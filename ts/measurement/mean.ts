/** Means of figures that have bounds. */

import type { Bounded } from '../results/curve.js'

/** The mean of figures whose errors are independent of each other. */
export class Mean {
  #count = 0
  #sum = 0
  #lowest = 0
  #highest = 0
  #below = 0
  #above = 0

  /** Adds a figure. Returns 1, the number of figures that this adds. */
  add(
    value: number,
    { low, high }: { low: number; high: number } = { low: value, high: value },
  ): 1 {
    this.#count++
    this.#sum += value
    this.#lowest += low
    this.#highest += high
    this.#below += (value - low) ** 2
    this.#above += (high - value) ** 2
    return 1
  }

  /**
   * The mean over `count` figures, of which those that were not added are 0. Its bounds have the
   * confidence of the figures' own bounds: the distances below, and those above, are added as
   * errors that are independent of each other (Zou and Donner 2008, "MOVER").
   */
  bounded(count: number = this.#count): Bounded {
    const value = count === 0 ? 0 : this.#sum / count
    return {
      value,
      low: count === 0 ? 0 : value - Math.sqrt(this.#below) / count,
      high: count === 0 ? 0 : value + Math.sqrt(this.#above) / count,
    }
  }

  /**
   * The means of the bounds, within which the mean surely is if each figure is within its bounds.
   */
  sure(): { low: number; high: number } {
    return { low: this.#lowest / this.#count, high: this.#highest / this.#count }
  }
}
