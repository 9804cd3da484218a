/** Makes something that costs time and memory at most once in a while, whoever asks how often. */

import { performance } from 'node:perf_hooks'

/** What `make` gives, which everybody shares who asks while it is made, and within `ms` after. */
export function recent<T>(make: () => Promise<T>, ms: number): () => Promise<T> {
  let last: { made: Promise<T>; until: number } | undefined
  return () => {
    if (last !== undefined && performance.now() < last.until) return last.made
    const mine = { made: make(), until: Number.POSITIVE_INFINITY }
    last = mine
    const isMade = (): void => {
      mine.until = performance.now() + ms
    }
    mine.made.then(isMade, () => {
      mine.until = 0
    })
    return mine.made
  }
}
