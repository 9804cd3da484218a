/**
 * Tickets, with which a page opens a WebSocket. A page cannot set the header Authorization there,
 * and a token in the address would stay in logs. A ticket can be used once, and soon.
 */

import { createHash, randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'

/** How long a ticket can be used. */
export const TICKET_MS = 30_000
/** So many tickets wait to be used. A further one takes the place of the oldest. */
const MOST_TICKETS = 256
/** 256 bits, which nobody guesses in that time. */
const TICKET_BYTES = 32

export class Tickets {
  /**
   * When each ticket ends, oldest first. They are found by their digests, so the time of a look
   * says nothing about a ticket.
   */
  readonly #ends = new Map<string, number>()
  readonly #lifeMs: number

  constructor(lifeMs: number = TICKET_MS) {
    this.#lifeMs = lifeMs
  }

  /** A new ticket, for one who has shown the token. */
  issue(): string {
    const ticket = randomBytes(TICKET_BYTES).toString('base64url')
    this.#ends.set(digestOf(ticket), performance.now() + this.#lifeMs)
    for (const oldest of this.#ends.keys()) {
      if (this.#ends.size <= MOST_TICKETS) break
      this.#ends.delete(oldest)
    }
    return ticket
  }

  /** No ticket that was issued can be used any more. */
  clear(): void {
    this.#ends.clear()
  }

  /** Whether the ticket could be used. From then on it cannot. */
  take(ticket: string | null): boolean {
    if (ticket === null) return false
    const digest = digestOf(ticket)
    const end = this.#ends.get(digest)
    this.#ends.delete(digest)
    return end !== undefined && performance.now() < end
  }
}

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex')
