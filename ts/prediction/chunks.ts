/** The regions of a curve as a VMM's chunks, if a chunk has several of them. */

import type { CurveInput, InputRegion } from './curve-input.js'

/**
 * `input` with one region for each chunk of `chunkBytes`. A chunk lies in one RAM block, and the
 * first one begins where the block does. A region that is larger than a chunk stays one region,
 * because nobody knows where in it its dirty pages are.
 */
export function byChunks(input: CurveInput, chunkBytes: number): CurveInput {
  const chunks: InputRegion[][] = []
  let [block, begin, chunk] = [input.regions[0]?.block, 0, -1]
  for (const region of input.regions) {
    if (region.block !== block) [block, begin, chunk] = [region.block, 0, -1]
    const at = Math.floor((begin * input.pageSize) / chunkBytes)
    begin += region.memoryPages
    if (at === chunk) chunks.at(-1)?.push(region)
    else chunks.push([region])
    chunk = at
  }
  if (chunks.length === input.regions.length) return input
  return { ...input, regions: chunks.map(one => merged(one, input.points.length)) }
}

/** Neighbouring regions as one, with `points` numbers. */
export function merged(regions: readonly InputRegion[], points: number): InputRegion {
  const pages = new Array<number>(points).fill(0)
  for (const region of regions)
    for (let at = 0; at < points; at++) pages[at] = (pages[at] ?? 0) + (region.pages[at] ?? 0)
  return {
    block: regions[0]?.block ?? '',
    memoryPages: regions.reduce((sum, { memoryPages }) => sum + memoryPages, 0),
    pages,
  }
}
