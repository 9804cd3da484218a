/** What a curve says about the memory: how its dirty pages grow with the window, with bounds. */

import { argumentError } from '../ground/errors.js'
import type { Bounded } from '../results/curve.js'
import { coarse } from './coarse.js'
import type { CurveInput } from './curve-input.js'
import { allSeconds, Growth, type GrowthPoint, sumOf } from './growth.js'
import { tailOf } from './tail.js'

/** The most probable scenario, the best one and the worst one. */
export type Bound = 'value' | 'low' | 'high'

/** One of the curves that the measurement allows. */
export interface Possible {
  readonly total: Growth
  /** The regions, in the order in which they are sent. One if nobody knows the regions. */
  readonly parts: readonly Part[]
}

/** One region: its memory, and its share of the curve. */
export interface Part {
  readonly memoryPages: number
  readonly growth: Growth
  /** Parts of the same chunk are protected again together. Absent if each part is a chunk. */
  readonly chunk?: number
}

export interface Model {
  readonly pageSize: number
  readonly memoryPages: number
  /** Pages that hold anything but zeros. */
  readonly filledPages: Bounded
  readonly value: Possible
  readonly low: Possible
  readonly high: Possible
  /** Whether the regions are known. */
  readonly hasRegions: boolean
}

/** The first window is cut here, to bound what may happen within it. */
const FIRST_PART = 1 / 8

/**
 * The model of a curve. `memoryBytes` is used if the curve does not know its memory. With
 * `asMeasured` there are straight lines between the points, and no bounds.
 */
export function modelOf(
  input: CurveInput,
  memoryBytes: number | undefined,
  asMeasured: boolean,
): Model {
  const bytes = memoryOf(input, memoryBytes)
  const { pageSize } = input
  const memoryPages = Math.max(Math.round(bytes / pageSize), 1)
  const zeros = input.zeroPages ?? { value: 0, low: 0, high: 0 }
  const left = (pages: number): number => Math.max(memoryPages - pages, 0)
  const filledPages = { value: left(zeros.value), low: left(zeros.high), high: left(zeros.low) }
  if (asMeasured) {
    const points = input.points.map(({ seconds, pages }): GrowthPoint => [seconds, pages])
    const total = new Growth([...points, ...lineTo(points, filledPages.value)])
    const exact: Possible = { total, parts: [{ memoryPages, growth: total }] }
    return {
      pageSize,
      memoryPages,
      filledPages,
      value: exact,
      low: exact,
      high: exact,
      hasRegions: false,
    }
  }
  const measured = coarse(input)
  const totals = boundsOf(measured, memoryPages)
  const parts = partsOf(measured, totals.value, memoryPages)
  const possible = (total: Growth): Possible => ({
    total,
    parts: parts.map(({ memoryPages: pages, growth }) => ({
      memoryPages: pages,
      growth: following(growth, totals.value, total, pages / memoryPages),
    })),
  })
  return {
    pageSize,
    memoryPages,
    filledPages,
    value: possible(totals.value),
    low: possible(totals.low),
    high: possible(totals.high),
    hasRegions: input.regions.length > 0,
  }
}

function memoryOf(input: CurveInput, given: number | undefined): number {
  const ofRegions = input.regions.reduce((sum, region) => sum + region.memoryPages, 0)
  const bytes =
    given ?? input.memoryBytes ?? (ofRegions > 0 ? ofRegions * input.pageSize : undefined)
  if (bytes === undefined) {
    throw argumentError(
      'memory: the curve does not say how much memory the VM has',
      "Give it, such as memory: '4GiB' (--memory 4GiB).",
    )
  }
  const most = input.points.reduce((most, { pages }) => Math.max(most, pages), 0) * input.pageSize
  // A curve of QEMU's whole MiB/s may say a little more than there is.
  if (most > bytes * 1.1) {
    throw argumentError(
      `memory: the curve has ${most} bytes of dirty pages, which is more than ${bytes}`,
      'Give the memory of the VM that was measured.',
    )
  }
  return bytes
}

/** The line of the last two points, up to `pages`. */
function lineTo(points: readonly GrowthPoint[], pages: number): GrowthPoint[] {
  const [t0, u0] = points.at(-2) ?? [0, 0]
  const [t1, u1] = points.at(-1) ?? [0, 0]
  const slope = (u1 - u0) / (t1 - t0)
  return slope > 0 && pages > u1 ? [[t1 + (pages - u1) / slope, pages]] : []
}

/**
 * The curve in total: its most probable form, and the lowest and the highest possible one. Those
 * two go through the bounds of each point by itself. What a migration leaves is a mean of U over
 * some windows, and for normal errors the bound of a mean is never outside of the mean of the
 * bounds, however the errors of the points depend on each other.
 */
function boundsOf(
  { points, complete }: Pick<CurveInput, 'points' | 'complete'>,
  most: number,
): { value: Growth; low: Growth; high: Growth } {
  const cap = (pages: number): number => Math.min(pages, most)
  const hull = new Growth(points.map(({ seconds, pages }) => [seconds, cap(pages)])).concave()
  const value = new Growth([...hull.points, ...tailOf(hull.points, most)])
  const low = new Growth(points.map(({ seconds, low }) => [seconds, cap(low)])).concave()
  const high = complete ? points.map(({ high }) => cap(high)) : points.map(() => most)
  // A window dirties no more pages than any longer one.
  for (let at = high.length - 2; at >= 0; at--)
    high[at] = Math.min(high[at] ?? most, high[at + 1] ?? most)
  const hullOfHigh = new Growth(
    points.map(({ seconds }, at) => [seconds, high[at] ?? most]),
  ).concave()
  // The hull leaves out points on a straight line, which are known all the same.
  const above = highest(
    points.map(({ seconds }) => [seconds, hullOfHigh.at(seconds)]),
    most,
  )
  const seconds = allSeconds([value, low, above])
  const choose = (pick: (a: number, b: number) => number, one: Growth): Growth =>
    new Growth({ seconds, pages: seconds.map(t => pick(value.at(t), one.at(t))) })
  return { value, low: choose(Math.min, low), high: choose(Math.max, above) }
}

/**
 * The highest concave curve that has these points: between two of them it may reach as high as the
 * lines of the neighbouring segments, and behind the last one it may go on along its last line.
 */
function highest(known: readonly GrowthPoint[], most: number): Growth {
  const points: GrowthPoint[] = [[0, 0], ...known]
  const line = (at: number): ((t: number) => number) => {
    const [t0, u0] = points[at] ?? [0, 0]
    const [t1, u1] = points[at + 1] ?? [t0 + 1, u0]
    return t => u0 + ((u1 - u0) / (t1 - t0)) * (t - t0)
  }
  const found: GrowthPoint[] = []
  for (let at = 1; at < points.length; at++) {
    const [t0] = points[at - 1] ?? [0, 0]
    const [t1, u1] = points[at] ?? [0, 0]
    const after = points.length > at + 1 ? line(at) : () => u1
    const before = at > 1 ? line(at - 2) : () => Number.POSITIVE_INFINITY
    // Where the two lines cross, or near the beginning, before which nothing is known.
    const t = at > 1 ? crossing(before, after, t0, t1) : t0 + (t1 - t0) * FIRST_PART
    const apex = Math.min(before(t), after(t), most)
    if (t > t0 && t < t1) found.push([t, apex])
    found.push([t1, u1])
  }
  const last = line(points.length - 2)
  const [lastT, lastU] = points.at(-1) ?? [0, 0]
  const slope = last(lastT + 1) - lastU
  if (slope > 0 && lastU < most) found.push([lastT + (most - lastU) / slope, most])
  return new Growth(found)
}

function crossing(
  a: (t: number) => number,
  b: (t: number) => number,
  from: number,
  to: number,
): number {
  const [d0, d1] = [a(from) - b(from), a(to) - b(to)]
  return d0 === d1 ? (from + to) / 2 : from + ((to - from) * -d0) / (d1 - d0)
}

/** The regions, whose curves add up to `total`. */
function partsOf({ regions, points }: CurveInput, total: Growth, memoryPages: number): Part[] {
  if (regions.length === 0) return [{ memoryPages, growth: total }]
  const parts = regions.map(region => {
    const hull = new Growth(
      points.map(({ seconds }, at) => [seconds, region.pages[at] ?? 0]),
    ).concave()
    return {
      memoryPages: region.memoryPages,
      growth: new Growth([...hull.points, ...tailOf(hull.points, region.memoryPages)]),
    }
  })
  const sum = sumOf(parts.map(({ growth }) => growth))
  return parts.map(({ memoryPages: pages, growth }) => ({
    memoryPages: pages,
    growth: following(growth, sum, total, pages / memoryPages),
  }))
}

/** `part` of `whole`, if the whole is `other`. Of nothing, the part is `share`. */
function following(part: Growth, whole: Growth, other: Growth, share: number): Growth {
  if (part === whole) return other
  return other.mapped((t, pages) => {
    const all = whole.at(t)
    return pages * (all > 0 ? part.at(t) / all : share)
  })
}
