/**
 * Hands the events to those who watch. A reader that is slow costs no memory: each one takes from
 * the history when it can, and one that falls behind misses events, and is told so.
 */

import type { DashboardEvent } from './events.js'
import type { History } from './history.js'
import { READER_LIMITS, Reader, type ReaderLimits, type Sink } from './reader.js'
import { type CurveAnswer, type Hello, PROTOCOL } from './records.js'

/** What the first record of each connection says about the server. */
export type About = Pick<Hello, 'version' | 'run' | 'source'>

/** What a reader has already, from a connection before. */
export interface Position {
  readonly run: string
  /** The number of the last event that it had. */
  readonly after: number
}

/** One who watches. */
export interface Subscription {
  /** Says something to this reader alone. */
  answer(answer: CurveAnswer): void
  /** Sends no more. */
  end(): void
  /** Resolves when it has ended, also because its sink has failed. */
  readonly ended: Promise<void>
}

export class Hub {
  readonly history: History
  readonly #about: About
  readonly #targets: () => readonly string[]
  readonly #limits: ReaderLimits
  readonly #readers = new Set<Reader>()

  /** `targets` says which targets are served now. */
  constructor(
    history: History,
    about: About,
    targets: () => readonly string[],
    limits: Partial<ReaderLimits> = {},
  ) {
    this.history = history
    this.#about = about
    this.#targets = targets
    this.#limits = { ...READER_LIMITS, ...limits }
  }

  publish(event: DashboardEvent): void {
    this.history.add(event)
    for (const reader of this.#readers) reader.wake()
  }

  /** Sends what `position` does not have, and then each new event. */
  subscribe(sink: Sink, position?: Position): Subscription {
    const { history } = this
    const hello: Hello = {
      kind: 'hello',
      protocol: PROTOCOL,
      ...this.#about,
      first: history.first,
      last: history.last,
      targets: this.#targets(),
    }
    // The numbers of another run say nothing about this one.
    const isOfThisRun = position?.run === hello.run && position.after <= hello.last
    const after = isOfThisRun ? position.after : undefined
    const reader = new Reader(history, sink, after, this.#limits)
    this.#readers.add(reader)
    const ended = reader.run(hello).finally(() => this.#readers.delete(reader))
    return { answer: answer => reader.answer(answer), end: () => reader.end(), ended }
  }
}
