/**
 * Plays a pre-copy migration page by page: slow and obvious, the oracle of the prediction. It knows
 * which page is dirty at any time, and follows the rules of a profile to the letter.
 */

import type { MigrationProfile } from '../../ts/prediction/profiles.js'
import type { Writer } from './writers.js'

export interface SimulatedMigration {
  profile: MigrationProfile
  pages: number
  /** Pages of one chunk. */
  chunkPages: number
  pagesPerSecond: number
  /** How many pages may be left when the guest is stopped. */
  thresholdPages: number
  writer: Writer
  /** A migration that takes longer than this stalls, in seconds. */
  patience: number
}

export interface Simulated {
  converged: boolean
  passes: number
  /** Pages that were sent, with the last ones. */
  sentPages: number
  /** The whole migration, with the time in which the guest is stopped. */
  seconds: number
  downSeconds: number
}

export function simulate(migration: SimulatedMigration): Simulated {
  const { pagesPerSecond, thresholdPages } = migration
  const run = migrating(migration)
  let step = run.next()
  while (step.done !== true) step = run.next({ pagesPerSecond, thresholdPages })
  return step.value
}

/** What the link gives to a migration for its next page. */
export interface Given {
  pagesPerSecond: number
  thresholdPages: number
}

/** Where a migration is when it asks for its next page. */
export interface Progress {
  seconds: number
  passes: number
}

/** The migration, page by page. It begins with the rate and the threshold of `migration`. */
export function* migrating(migration: SimulatedMigration): Generator<Progress, Simulated, Given> {
  const { profile, pages, chunkPages, writer, patience } = migration
  let { pagesPerSecond, thresholdPages } = migration
  const chunkOf = (page: number): number =>
    profile.clearing === 'pass-start' ? 0 : Math.floor(page / chunkPages)
  const chunks = chunkOf(pages - 1) + 1
  /** What the kernel has logged. Its log begins with every page in it. */
  const logged = new Uint8Array(pages).fill(1)
  /** What the kernel has logged when it was last asked, and not cleared since. */
  const fetched = new Uint8Array(pages).fill(1)
  /** What the VMM still has to send. */
  const toSend = new Uint8Array(pages).fill(1)
  const mustClear = new Uint8Array(chunks).fill(1)
  const slice = profile.limiterMs / 1000
  let [left, passes, sent, now, at] = [pages, 1, 0, 0, 0]
  let sliceEnds = slice

  const run = (until: number): void => {
    now = until
    writer.run(until, page => {
      logged[page] = 1
    })
  }
  const clear = (chunk: number): void => {
    mustClear[chunk] = 0
    const [from, to] =
      profile.clearing === 'pass-start'
        ? [0, pages]
        : [chunk * chunkPages, (chunk + 1) * chunkPages]
    for (let page = from; page < Math.min(to, pages); page++) {
      if (fetched[page] === 1) logged[page] = 0
      fetched[page] = 0
    }
  }
  const sync = (): void => {
    passes++
    for (let page = 0; page < pages; page++) {
      if (logged[page] !== 1) continue
      fetched[page] = 1
      if (toSend[page] === 0) left++
      toSend[page] = 1
    }
    mustClear.fill(1)
    if (profile.clearing === 'pass-start') clear(0)
  }

  if (profile.clearing === 'pass-start') clear(0)
  for (;;) {
    // The first pass may be the last one as well.
    const isLow =
      profile.passEnds === 'drained' ? left === 0 || passes === 1 : left <= thresholdPages
    if (isLow && sent > 0 && (profile.passEnds === 'threshold' || left === 0)) sync()
    const ends = left <= thresholdPages
    if (ends || now > patience) {
      let downSeconds = 0
      for (let page = 0; page < left; page++) {
        ;({ pagesPerSecond, thresholdPages } = yield { seconds: now + downSeconds, passes })
        downSeconds += 1 / pagesPerSecond
      }
      return {
        converged: ends,
        passes,
        sentPages: sent + left,
        seconds: now + downSeconds,
        downSeconds,
      }
    }
    // Sends until it is time to look again, or until nothing is left.
    sliceEnds = now + slice
    while (left > 0 && (profile.passEnds === 'drained' || now < sliceEnds)) {
      while (toSend[at] === 0) at = (at + 1) % pages
      ;({ pagesPerSecond, thresholdPages } = yield { seconds: now, passes })
      if (mustClear[chunkOf(at)] === 1) clear(chunkOf(at))
      toSend[at] = 0
      left--
      sent++
      run(now + 1 / pagesPerSecond)
    }
  }
}
