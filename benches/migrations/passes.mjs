// Follows a migration by what query-migrate says, and decides when it is taken to have stalled.

/** A migration may be taken to have stalled only after this time, and after so many passes. */
const STALLED_AFTER_MS = 30_000
const STALLED_AFTER_PASSES = 8
/** It has stalled if the second half of its time has brought it no nearer to its end than this. */
const NEARER = 0.97
/** Nobody waits longer than this, or than five first passes if they are longer. */
const LONGEST_MS = 150_000

/** The passes of one migration, from its answers and events. */
export class Passes {
  #passes = []
  #longest

  /** `expectedMs`: how long the first pass takes by the bandwidth and the memory. */
  constructor(expectedMs) {
    this.#longest = Math.max(LONGEST_MS, 5 * expectedMs)
  }

  /** Takes one answer; returns true if the migration has stalled. */
  take({ ram, 'total-time': elapsedMs = 0 }) {
    if (ram === undefined) return false
    const pass = ram['dirty-sync-count']
    if (pass !== this.#passes.at(-1)?.pass)
      this.#passes.push({
        pass,
        startedMs: elapsedMs,
        remainingBytes: ram.remaining,
        transferredBytes: ram.transferred,
        normalPages: ram.normal,
        zeroPages: ram.duplicate,
        dirtyPagesPerSecond: ram['dirty-pages-rate'],
      })
    return elapsedMs > this.#longest || this.#hasStalled(elapsedMs)
  }

  #hasStalled(elapsedMs) {
    if (elapsedMs < STALLED_AFTER_MS || this.#passes.length <= STALLED_AFTER_PASSES) return false
    const [, second] = this.#passes
    const middle = (second.startedMs + elapsedMs) / 2
    const least = passes => Math.min(...passes.map(({ remainingBytes }) => remainingBytes))
    const early = this.#passes.slice(1).filter(({ startedMs }) => startedMs < middle)
    const late = this.#passes.filter(({ startedMs }) => startedMs >= middle)
    return late.length > 1 && least(late) > NEARER * least(early)
  }

  /** Each pass, as it was when query-migrate first told of it. */
  get list() {
    return this.#passes
  }
}

/** When each pass began by QEMU's events, in ms from the first one. */
export function passEvents(events) {
  const atMs = ({ timestamp }) => timestamp.seconds * 1000 + timestamp.microseconds / 1000
  const passes = events.filter(({ event }) => event === 'MIGRATION_PASS')
  return passes.map(one => ({
    pass: one.data.pass,
    atMs: Math.round(atMs(one) - atMs(passes[0])),
  }))
}
