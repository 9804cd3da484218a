/** One who watches: takes from the history what it has not had, when it can take something. */

import { encodeRecord } from './frames.js'
import type { History, StoredEvent } from './history.js'
import { joined } from './packed-cells.js'
import { Queue } from './queue.js'
import type { Control, Hello } from './records.js'

/** Where the frames of a reader go. */
export interface Sink {
  /** Resolves when the frame has left, so that the next one can follow. */
  send(frame: Uint8Array): Promise<void>
}

export interface ReaderLimits {
  /** Records are put together to frames of about this size. A larger record has its own frame. */
  readonly frameBytes: number
  /** How far a reader may be behind what happens. */
  readonly behindMs: number
  /** How long a reader may take for the history when it begins. */
  readonly historyMs: number
  /** How long nothing may be said. */
  readonly aliveMs: number
}

export const READER_LIMITS: ReaderLimits = {
  frameBytes: 256 * 1024,
  behindMs: 5_000,
  historyMs: 60_000,
  aliveMs: 15_000,
}

/** A reader that takes no answer, and asks for more, has ended. */
const MOST_ANSWERS = 64

export class Reader {
  readonly #history: History
  readonly #sink: Sink
  readonly #limits: ReaderLimits
  /** The number of the last event that was sent, or that will not be. */
  #after: number
  /** The reader knows that events up to this number may be missing. */
  #missesUpTo: number
  /** Up to this number only the newest event of each kind is sent: those with these numbers. */
  #skipsUpTo = 0
  readonly #newest = new Queue<number>()
  /** The newest event when the reader came. What is up to it is history. */
  readonly #joinedAt: number
  readonly #joinedMs = performance.now()
  /** When the history was sent. */
  #caughtUpMs: number | undefined
  #answers: Control[] = []
  #isEnded = false
  #wake: (() => void) | undefined

  /** A reader that has everything up to the number `after`; undefined if it has nothing. */
  constructor(history: History, sink: Sink, after: number | undefined, limits: ReaderLimits) {
    this.#history = history
    this.#sink = sink
    this.#limits = limits
    this.#after = after ?? 0
    // The history of a new reader begins where it begins. That is no gap.
    this.#missesUpTo = after ?? history.droppedUpTo
    this.#joinedAt = history.last
  }

  /** Sends until it has ended, or the sink has failed. */
  async run(hello: Hello): Promise<void> {
    try {
      await this.#sink.send(encodeRecord({ control: hello }))
      while (!this.#isEnded) {
        const frame = this.#next()
        if (frame !== undefined) await this.#sink.send(frame)
        else if (!(await this.#woken()))
          await this.#sink.send(encodeRecord({ control: { kind: 'alive', at: Date.now() } }))
      }
    } catch {
      this.#isEnded = true
    }
  }

  answer(answer: Control): void {
    this.#answers.push(answer)
    if (this.#answers.length > MOST_ANSWERS) this.end()
    this.wake()
  }

  /** There is something new. */
  wake(): void {
    this.#wake?.()
  }

  end(): void {
    this.#isEnded = true
    this.wake()
  }

  /** False if nothing has happened for as long as nothing may be said. */
  #woken(): Promise<boolean> {
    return new Promise(resolve => {
      const woken = (isWoken: boolean): void => {
        clearTimeout(timer)
        this.#wake = undefined
        resolve(isWoken)
      }
      const timer = setTimeout(woken, this.#limits.aliveMs, false)
      this.#wake = () => woken(true)
    })
  }

  /** The next frame; undefined if there is nothing to say. */
  #next(): Uint8Array | undefined {
    const parts = this.#answers.map(control => encodeRecord({ control }))
    this.#answers = []
    this.#lookForGap(parts)
    let bytes = 0
    while (bytes < this.#limits.frameBytes) {
      const event = this.#nextEvent()
      if (event === undefined) break
      this.#after = event.seq
      parts.push(event.bytes)
      bytes += event.bytes.length
    }
    if (this.#caughtUpMs === undefined && this.#isAt(this.#joinedAt)) {
      this.#caughtUpMs = performance.now()
      parts.push(encodeRecord({ control: { kind: 'caught-up', last: this.#joinedAt } }))
    }
    return parts.length === 0 ? undefined : joined(parts)
  }

  /** Whether nothing up to this number is left to be sent. */
  #isAt(seq: number): boolean {
    const next = this.#history.after(this.#after)
    return next === undefined || next.seq > seq
  }

  #nextEvent(): StoredEvent | undefined {
    if (this.#after >= this.#skipsUpTo) return this.#history.after(this.#after)
    for (;;) {
      const seq = this.#newest.shift()
      if (seq === undefined) break
      const event = this.#history.after(seq - 1)
      // It may have been dropped meanwhile. Then the one that has followed it comes later.
      if (event?.seq === seq) return event
    }
    this.#after = this.#skipsUpTo
    return this.#history.after(this.#after)
  }

  /** Says which events are missing, if any are. */
  #lookForGap(parts: Uint8Array[]): void {
    const { droppedUpTo, last } = this.#history
    const gap = (upTo: number, why: 'gone' | 'slow'): void => {
      parts.push(encodeRecord({ control: { kind: 'gap', after: this.#after, upTo, why } }))
      this.#missesUpTo = upTo
    }
    if (this.#after >= this.#skipsUpTo && this.#isTooFarBehind()) {
      this.#skipsUpTo = last
      for (const { seq } of this.#history.newest()) if (seq > this.#after) this.#newest.push(seq)
      gap(last, 'slow')
    } else if (droppedUpTo > Math.max(this.#after, this.#missesUpTo)) gap(droppedUpTo, 'gone')
  }

  #isTooFarBehind(): boolean {
    const next = this.#history.after(this.#after)
    if (next === undefined) return false
    const now = performance.now()
    if (this.#caughtUpMs === undefined && next.seq <= this.#joinedAt)
      return now - this.#joinedMs > this.#limits.historyMs
    // What happened while the history was sent waits since then.
    return now - Math.max(next.keptMs, this.#caughtUpMs ?? now) > this.#limits.behindMs
  }
}
