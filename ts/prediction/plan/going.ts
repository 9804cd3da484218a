/** A VM that goes, what it takes in a stage of a plan, and how wide a stage may be. */

import type { Job } from './lanes.js'
import type { Movable, Offer } from './offers.js'
import type { PlanMethod, Task } from './options.js'

/** A VM that goes, and by which method. */
export class Going implements Job {
  readonly #movable: Movable
  readonly method: PlanMethod
  readonly #task: Task
  /** How long it copies, by the width and by how many copy. */
  readonly #seconds: number[][] = []

  constructor(movable: Movable, method: PlanMethod, task: Task) {
    this.#movable = movable
    this.method = method
    this.#task = task
  }

  get name(): string {
    return this.#movable.name
  }

  /** multifd takes all that the link carries, so that nothing else can run beside it. */
  get isAlone(): boolean {
    return this.method === 'compression'
  }

  get setupSeconds(): number {
    return this.#task.overhead
  }

  /** How long it keeps the link busy at least: with all of the link it sends the least. */
  get leastOnLink(): number {
    const { bytesPerSecond } = this.#task.wanted
    const copying = this.#movable.copySeconds(this.method, bytesPerSecond)
    const share = bytesPerSecond / this.#task.linkBytesPerSecond
    return Math.max(copying - this.#movable.fixedSeconds, 0) * share
  }

  copySeconds(width: number, active: number): number {
    let known = this.#seconds[width]
    if (known === undefined) {
      known = []
      this.#seconds[width] = known
    }
    let seconds = known[active]
    if (seconds === undefined) {
      seconds = this.#copySeconds(width, active)
      known[active] = seconds
    }
    return seconds
  }

  #copySeconds(width: number, active: number): number {
    if (this.isAlone && width > 1) return Number.POSITIVE_INFINITY
    const [counted, actual] = [rateOf(width, this.#task), rateOf(active, this.#task)]
    return this.#movable.copySeconds(this.method, counted, actual)
  }

  offer(width: number): Offer {
    return this.#movable.offer(this.method, rateOf(width, this.#task))
  }
}

/** No plan is shorter: each migration prepares and copies, and the link is kept busy by each. */
export const leastSeconds = (going: readonly Going[], { overhead }: Task): number =>
  going.reduce((sum, { leastOnLink }) => sum + leastOnLink, going.length > 0 ? overhead : 0)

/** What each of so many migrations has that copy at the same time. */
const rateOf = (width: number, { wanted, linkBytesPerSecond }: Task): number =>
  Math.min(wanted.bytesPerSecond, linkBytesPerSecond / width)

/**
 * The widths that a stage may have. As long as the link has room for one more migration at its full
 * rate, a wider stage has more lanes, and each of them is as fast.
 */
export function widthsOf(task: Task, going: readonly Going[]): number[] {
  const { wanted, linkBytesPerSecond, parallel } = task
  const full = Math.floor((linkBytesPerSecond / wanted.bytesPerSecond) * (1 + 1e-12))
  const least = Math.min(Math.max(full, 1), parallel)
  const widths = Array.from({ length: parallel - least + 1 }, (_, at) => least + at)
  return going.some(({ isAlone }) => isAlone) && least > 1 ? [1, ...widths] : widths
}
