/** How often something may happen. */

import { performance } from 'node:perf_hooks'

/** Whether one more is too much: `most` at once, and one more in each `everyMs`. */
export function allowance(most: number, everyMs: number): () => boolean {
  let left = most
  let at = performance.now()
  return () => {
    const now = performance.now()
    left = Math.min(left + (now - at) / everyMs, most)
    at = now
    if (left < 1) return true
    left--
    return false
  }
}
