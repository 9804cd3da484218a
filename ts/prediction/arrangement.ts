/** Where in memory the writers may be: the chunks in the order in which a pass sends them. */

import { Growth, type GrowthPoint } from './growth.js'
import type { Part, Possible } from './model.js'

/** All writers write to the same share of each of `chunks` chunks. */
export function spread({ total, parts }: Possible, chunks: number): Possible {
  const memoryPages = parts.reduce((sum, part) => sum + part.memoryPages, 0) / chunks
  const part = { memoryPages, growth: total.scaled(1 / chunks) }
  return { total, parts: Array.from({ length: chunks }, () => part) }
}

/** Writers that come back to each of their pages after a fixed time. */
interface Writers {
  readonly period: number
  readonly pages: number
  /** From where on, and up to where, they are in memory, in chunks. */
  readonly from: number
  readonly to: number
}

/**
 * Each chunk has writers of its own, and the chunks are in the order of how often their pages are
 * written: the most often written first, and last. A concave curve is a sum of writers that come
 * back to each of their pages after a fixed time, and this sum is the only one.
 */
export function sortedBoth(possible: Possible, chunks: number): readonly [Possible, Possible] {
  const { total, parts } = possible
  const memoryPages = parts.reduce((sum, part) => sum + part.memoryPages, 0) / chunks
  const hull = total.concave()
  const { seconds } = hull
  const writers = writersOf(hull.points, chunks)
  if (writers.length === 0) {
    const same = spread(possible, chunks)
    return [same, same]
  }
  const made: Part[] = []
  let first = 0
  /** What a chunk has of which these writers write all pages. */
  let whole: { writers: number; part: Part } | undefined
  for (let chunk = 0; chunk < chunks; chunk++) {
    while (first < writers.length - 1 && (writers[first]?.to ?? 0) <= chunk) first++
    const { from = 0, to = 0 } = writers[first] ?? {}
    const isOfOne = from <= chunk && to >= chunk + 1
    if (!isOfOne || whole?.writers !== first) {
      const part = { memoryPages, growth: growthIn(chunk, first, writers, seconds) }
      if (!isOfOne) {
        made.push(part)
        continue
      }
      whole = { writers: first, part }
    }
    made.push(whole.part)
  }
  return [
    { total, parts: made },
    { total, parts: [...made].reverse() },
  ]
}

function writersOf(points: readonly GrowthPoint[], chunks: number): Writers[] {
  const known = points.map(([t, u], at) => {
    const [t0, u0] = points[at - 1] ?? [0, 0]
    const [t1, u1] = points[at + 1] ?? [t + 1, u]
    return { period: t, pages: Math.max((u - u0) / (t - t0) - (u1 - u) / (t1 - t), 0) * t }
  })
  const all = known.reduce((sum, { pages }) => sum + pages, 0)
  if (all === 0) return []
  let before = 0
  const placed = known.map(({ period, pages }) => {
    const from = (before / all) * chunks
    before += pages
    return { period, pages, from, to: (before / all) * chunks }
  })
  return placed.filter(({ from, to }) => to > from)
}

/** The curve of a chunk, whose first writers are known. */
function growthIn(
  chunk: number,
  first: number,
  writers: readonly Writers[],
  seconds: Float64Array,
): Growth {
  const pages = new Float64Array(seconds.length)
  for (let at = first; at < writers.length; at++) {
    const { period, pages: all, from, to } = writers[at] as Writers
    if (from >= chunk + 1) break
    const overlap = Math.min(to, chunk + 1) - Math.max(from, chunk)
    if (!(overlap > 0)) continue
    const part = (all * overlap) / (to - from)
    for (let point = 1; point < seconds.length; point++) {
      const t = seconds[point] ?? 0
      pages[point] = (pages[point] ?? 0) + part * Math.min(t / period, 1)
    }
  }
  return new Growth({ seconds, pages })
}

/** How many parts of a chunk can differ from each other. */
const WITHIN = 8

/**
 * The same chunks, each of which has its writers in the order of how often they write: the most
 * often first, and last.
 */
export function sortedWithin({ total, parts }: Possible): readonly [Possible, Possible] {
  const both = parts.map(part => sortedBoth({ total: part.growth, parts: [part] }, WITHIN))
  const of = (which: 0 | 1): Possible => ({
    total,
    parts: both.flatMap((sorted, chunk) => sorted[which].parts.map(part => ({ ...part, chunk }))),
  })
  return [of(0), of(1)]
}
