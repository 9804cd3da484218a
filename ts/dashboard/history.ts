/**
 * The last events of all targets, encoded, in a limited amount of memory. Whoever reads them keeps
 * only the number of the last one that it has read, so readers cost no memory here.
 */

import type { DashboardEvent } from './events.js'
import { encodeRecord, packEvent } from './frames.js'
import { Queue } from './queue.js'
import type { PackedEvent } from './records.js'

/** How much is kept. */
export interface HistoryLimits {
  /** Of everything but cells, in all targets together. */
  readonly figureBytes: number
  /** Of cells, in all targets together. Older events keep their figures. */
  readonly cellBytes: number
  readonly ageMs: number
}

const MIB = 2 ** 20
export const HISTORY_LIMITS: HistoryLimits = {
  figureBytes: 32 * MIB,
  cellBytes: 32 * MIB,
  ageMs: 24 * 3_600_000,
}

/** An event that takes more than this part of the limit goes before older ones. */
const LARGE_PART = 4
/** How often the age of the events is looked at. */
const AGING_MS = 1000
/** What an event takes of the heap beside its bytes: two arrays, and the objects around them. */
const OVERHEAD_BYTES = 400

/** An event of the history. */
export interface StoredEvent {
  readonly seq: number
  readonly target: string
  /** When it came, by `performance.now()`. */
  readonly keptMs: number
  /** The encoded record, with its cells if the history still has them. */
  readonly bytes: Uint8Array
}

class Stored implements StoredEvent {
  readonly seq: number
  readonly at: number
  readonly target: string
  readonly kind: PackedEvent['kind']
  readonly keptMs: number = performance.now()
  readonly #figures: Uint8Array
  #whole: Uint8Array | undefined
  isDropped = false

  constructor(seq: number, event: PackedEvent) {
    this.seq = seq
    this.at = event.at
    this.target = event.target
    this.kind = event.kind
    if (event.kind === 'measured' && event.cells !== undefined) {
      const { cells: _, ...figures } = event
      this.#figures = encodeRecord({ seq, event: figures })
      this.#whole = encodeRecord({ seq, event })
    } else this.#figures = encodeRecord({ seq, event })
  }

  get bytes(): Uint8Array {
    return this.#whole ?? this.#figures
  }

  get figureBytes(): number {
    return this.#figures.length + OVERHEAD_BYTES
  }

  get cellBytes(): number {
    return this.#whole?.length ?? 0
  }

  dropCells(): void {
    this.#whole = undefined
  }
}

/** The events of one target. */
class OfTarget {
  /**
   * The newest of each kind, which say how the target is now. They are kept however old, unless
   * those of all targets alone are more than the history may have.
   */
  readonly newest = new Map<PackedEvent['kind'], Stored>()
  /** The others, which are dropped from the first one on. */
  readonly past = new Queue<Stored>()
  readonly withCells = new Queue<Stored>()
  figureBytes = 0
  cellBytes = 0

  add(event: Stored): void {
    if (event.kind === 'gone') {
      for (const last of inOrder(this.newest.values())) this.past.push(last)
      this.newest.clear()
      this.past.push(event)
      return
    }
    const last = this.newest.get(event.kind)
    if (last !== undefined) this.past.push(last)
    this.newest.set(event.kind, event)
  }

  get isEmpty(): boolean {
    return this.newest.size === 0 && this.past.length === 0
  }
}

const inOrder = (events: Iterable<Stored>): Stored[] =>
  [...events].sort((one, other) => one.seq - other.seq)

export class History {
  readonly #limits: HistoryLimits
  readonly #targets = new Map<string, OfTarget>()
  /** In the order of their numbers, with some that were dropped. */
  #events: Stored[] = []
  #dropped = 0
  #figureBytes = 0
  #cellBytes = 0
  #last = 0
  #droppedUpTo = 0
  #agedAt = 0

  constructor(limits: Partial<HistoryLimits> = {}) {
    this.#limits = { ...HISTORY_LIMITS, ...limits }
  }

  /** The number of the newest event; 0 if there was none. */
  get last(): number {
    return this.#last
  }

  /** The number of the oldest event that is kept; the next number if none is. */
  get first(): number {
    return this.#events.find(({ isDropped }) => !isDropped)?.seq ?? this.#last + 1
  }

  /** Some events with a number up to this one are not kept any more. */
  get droppedUpTo(): number {
    return this.#droppedUpTo
  }

  /** How many bytes the events take, with their cells. */
  get bytes(): number {
    return this.#figureBytes + this.#cellBytes
  }

  /** Keeps an event, and gives it a number. */
  add(event: DashboardEvent): StoredEvent {
    return this.addPacked(packEvent(event))
  }

  addPacked(event: PackedEvent): StoredEvent {
    this.#last++
    const stored = new Stored(this.#last, event)
    const target = this.#of(event.target)
    target.add(stored)
    this.#events.push(stored)
    target.figureBytes += stored.figureBytes
    this.#figureBytes += stored.figureBytes
    if (stored.cellBytes > 0) {
      target.withCells.push(stored)
      target.cellBytes += stored.cellBytes
      this.#cellBytes += stored.cellBytes
    }
    this.#keepLimits(event.at)
    return stored
  }

  /** The next event behind the number `seq`. */
  after(seq: number): StoredEvent | undefined {
    for (let at = this.#indexAfter(seq); at < this.#events.length; at++) {
      const event = this.#events[at]
      if (event?.isDropped === false) return event
    }
    return undefined
  }

  /** The newest event of each kind of each target, in the order of their numbers. */
  newest(): StoredEvent[] {
    return inOrder([...this.#targets.values()].flatMap(({ newest }) => [...newest.values()]))
  }

  #of(name: string): OfTarget {
    const known = this.#targets.get(name)
    if (known !== undefined) return known
    const target = new OfTarget()
    this.#targets.set(name, target)
    return target
  }

  /** The place of the first event with a larger number. */
  #indexAfter(seq: number): number {
    let low = 0
    let high = this.#events.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#events[middle] as Stored).seq <= seq) low = middle + 1
      else high = middle
    }
    return low
  }

  /** The target that takes the most gives first, so that each keeps its share. */
  #keepLimits(now: number): void {
    const { figureBytes, cellBytes, ageMs } = this.#limits
    while (this.#cellBytes > cellBytes) {
      const target = this.#largest('cellBytes')
      if (target === undefined) break
      this.#dropCells(target)
    }
    while (this.#figureBytes > figureBytes) {
      const target = this.#largest('figureBytes')
      if (target === undefined ? !this.#dropNewest() : !this.#dropOldest(target)) break
    }
    const canAge = ageMs < Number.POSITIVE_INFINITY
    if (canAge && (now - this.#agedAt >= AGING_MS || now < this.#agedAt)) {
      this.#agedAt = now
      this.#dropAged(now - ageMs)
    }
    if (this.#dropped > this.#events.length / 2) {
      this.#events = this.#events.filter(({ isDropped }) => !isDropped)
      this.#dropped = 0
    }
  }

  #largest(by: 'cellBytes' | 'figureBytes'): OfTarget | undefined {
    let largest: OfTarget | undefined
    for (const target of this.#targets.values()) {
      const hasSome = by === 'cellBytes' || target.past.length > 0
      if (hasSome && target[by] > (largest?.[by] ?? 0)) largest = target
    }
    return largest
  }

  #dropCells(target: OfTarget): void {
    const oldest = target.withCells.shift()
    if (oldest === undefined) return
    target.cellBytes -= oldest.cellBytes
    this.#cellBytes -= oldest.cellBytes
    oldest.dropCells()
  }

  #dropAged(before: number): void {
    for (const [name, target] of this.#targets) {
      while ((target.past.peek()?.at ?? before) < before) this.#dropOldest(target)
      if (target.isEmpty) this.#targets.delete(name)
    }
  }

  /** Drops the oldest event that is not the newest of its kind; false if there is none. */
  #dropOldest(target: OfTarget): boolean {
    const oldest = target.past.shift()
    if (oldest === undefined) return false
    this.#drop(target, oldest)
    return true
  }

  /**
   * Drops one of the newest events of each kind, which are too large together: one that takes a
   * good part of the limit alone, or else the oldest one.
   */
  #dropNewest(): boolean {
    let given = this.#events.find(({ isDropped }) => !isDropped)
    const least = this.#limits.figureBytes / LARGE_PART
    for (const event of this.#events)
      if (!event.isDropped && event.figureBytes > Math.max(least, given?.figureBytes ?? 0))
        given = event
    const target = given && this.#targets.get(given.target)
    if (given === undefined || target === undefined) return false
    target.newest.delete(given.kind)
    this.#drop(target, given)
    if (target.isEmpty) this.#targets.delete(given.target)
    return true
  }

  #drop(target: OfTarget, event: Stored): void {
    // Older ones with cells are dropped before it.
    while (event.cellBytes > 0) this.#dropCells(target)
    event.isDropped = true
    this.#dropped++
    target.figureBytes -= event.figureBytes
    this.#figureBytes -= event.figureBytes
    this.#droppedUpTo = Math.max(this.#droppedUpTo, event.seq)
  }
}
