/** Where in memory the writers may be: the chunks in the order in which a pass sends them. */

import { Growth, sumOf } from './growth.js'
import type { Part, Possible } from './model.js'

/** A finer division changes nothing: a chunk is then a small part of a pass. */
export const MOST_CHUNKS = 64

/** `parts` as at most {@link MOST_CHUNKS} ones: neighbours are taken together. */
export function grouped(parts: readonly Part[]): readonly Part[] {
  if (parts.length <= MOST_CHUNKS) return parts
  const size = Math.ceil(parts.length / MOST_CHUNKS)
  return Array.from({ length: Math.ceil(parts.length / size) }, (_, at) => {
    const group = parts.slice(at * size, (at + 1) * size)
    return {
      memoryPages: group.reduce((sum, part) => sum + part.memoryPages, 0),
      growth: sumOf(group.map(({ growth }) => growth)),
    }
  })
}

/** All writers write to the same share of each of `chunks` chunks. */
export function spread({ total, parts }: Possible, chunks: number): Possible {
  const memoryPages = parts.reduce((sum, part) => sum + part.memoryPages, 0) / chunks
  const part = { memoryPages, growth: total.scaled(1 / chunks) }
  return { total, parts: Array.from({ length: chunks }, () => part) }
}

/**
 * Each chunk has writers of its own, and the chunks are in the order of how often their pages are
 * written. A concave curve is a sum of writers that come back to each of their pages after a fixed
 * time, and this sum is the only one.
 */
export function sorted(
  possible: Possible,
  chunks: number,
  order: 'fast-first' | 'slow-first',
): Possible {
  const { total, parts } = possible
  const memoryPages = parts.reduce((sum, part) => sum + part.memoryPages, 0) / chunks
  const points = total.concave().points
  const writers = points.map(([t, u], at) => {
    const [t0, u0] = points[at - 1] ?? [0, 0]
    const [t1, u1] = points[at + 1] ?? [t + 1, u]
    return { period: t, pages: Math.max((u - u0) / (t - t0) - (u1 - u) / (t1 - t), 0) * t }
  })
  const all = writers.reduce((sum, { pages }) => sum + pages, 0)
  if (all === 0) return spread(possible, chunks)
  let before = 0
  const shares = writers.map(({ pages, period }) => {
    const from = (before / all) * chunks
    before += pages
    return { period, pages, from, to: (before / all) * chunks }
  })
  const made = Array.from({ length: chunks }, (_, at): Part => {
    const within = shares.flatMap(({ period, pages, from, to }) => {
      const overlap = Math.min(to, at + 1) - Math.max(from, at)
      return overlap > 0 && to > from ? [{ period, pages: (pages * overlap) / (to - from) }] : []
    })
    const u = (t: number): number =>
      within.reduce((sum, { period, pages }) => sum + pages * Math.min(t / period, 1), 0)
    return { memoryPages, growth: new Growth(points.map(([t]) => [t, u(t)])) }
  })
  return { total, parts: order === 'fast-first' ? made : made.reverse() }
}

/** How many parts of a chunk can differ from each other. */
const WITHIN = 8

/** The same chunks, each of which has its writers in the order of how often they write. */
export function sortedWithin(
  { total, parts }: Possible,
  order: 'fast-first' | 'slow-first',
): Possible {
  return {
    total,
    parts: parts.flatMap((part, chunk) =>
      sorted({ total: part.growth, parts: [part] }, WITHIN, order).parts.map(one => ({
        ...one,
        chunk,
      })),
    ),
  }
}
