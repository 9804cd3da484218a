/**
 * U(t) as a function: distinct pages that are dirtied in a window of t seconds. It is a line of
 * straight segments, which begins at zero, never falls, and is flat behind its last point.
 */

/** One point: seconds and pages. */
export type GrowthPoint = readonly [seconds: number, pages: number]

/** Bisection ends when the answer is known to this part of it. */
const PRECISION = 1e-9
/** The same for bisections, whose steps take longer. */
const BISECTED = 1e-6
const BISECTIONS = 200

/**
 * The same points in two columns. Both begin with 0, and the seconds ascend. The columns are the
 * curve's own from now on, but several curves may have the same seconds.
 */
interface Columns {
  readonly seconds: Float64Array
  readonly pages: Float64Array
}

/** Leaves out the points whose seconds do not ascend. */
function columnsOf(points: readonly GrowthPoint[]): Columns {
  const seconds = new Float64Array(points.length + 1)
  const pages = new Float64Array(points.length + 1)
  let last = 0
  for (let at = 0; at < points.length; at++) {
    const [t, u] = points[at] as GrowthPoint
    if (!(t > (seconds[last] ?? 0))) continue
    last++
    seconds[last] = t
    pages[last] = u
  }
  const isWhole = last === points.length
  return isWhole
    ? { seconds, pages }
    : { seconds: seconds.slice(0, last + 1), pages: pages.slice(0, last + 1) }
}

export class Growth {
  // Flat arrays, because a plan of a fleet makes a million of these.
  readonly #t: Float64Array
  readonly #u: Float64Array
  /** The integral from zero to each point. Many curves are never asked for it. */
  #area: Float64Array | undefined
  readonly #last: number

  /**
   * `points` are in ascending order of their seconds, which are above 0. The pages of a point that
   * are fewer than those of the point before count as equal to them.
   */
  constructor(points: readonly GrowthPoint[] | Columns) {
    const { seconds, pages } = 'seconds' in points ? points : columnsOf(points)
    for (let at = 1; at < pages.length; at++)
      pages[at] = Math.max(pages[at] ?? 0, pages[at - 1] ?? 0)
    this.#t = seconds
    this.#u = pages
    this.#last = seconds.length - 1
  }

  /** The pages of the longest window. */
  get most(): number {
    return this.#u[this.#last] ?? 0
  }

  /** The points, without the one at zero. */
  get points(): GrowthPoint[] {
    const points: GrowthPoint[] = []
    for (let at = 1; at <= this.#last; at++) points.push([this.#t[at] ?? 0, this.#u[at] ?? 0])
    return points
  }

  /** U(t). */
  at(t: number): number {
    return t > 0 ? this.#within(this.#find(t), t) : 0
  }

  /** U(t) in the segment that begins at the point `lower`. */
  #within(lower: number, t: number): number {
    const pages = this.#u[lower] ?? 0
    if (lower === this.#last) return pages
    const from = this.#t[lower] ?? 0
    const to = this.#t[lower + 1] ?? 0
    return pages + ((this.#u[lower + 1] ?? pages) - pages) * ((t - from) / (to - from))
  }

  /** The integral of U from zero to t. */
  area(t: number): number {
    if (!(t > 0)) return 0
    this.#area ??= this.#areas()
    const lower = this.#find(t)
    const from = this.#u[lower] ?? 0
    const to = this.#within(lower, t)
    return (this.#area[lower] ?? 0) + ((from + to) / 2) * (t - (this.#t[lower] ?? 0))
  }

  #areas(): Float64Array {
    const [t, u] = [this.#t, this.#u]
    const area = new Float64Array(t.length)
    for (let at = 1; at < t.length; at++) {
      const mean = ((u[at - 1] ?? 0) + (u[at] ?? 0)) / 2
      area[at] = (area[at - 1] ?? 0) + mean * ((t[at] ?? 0) - (t[at - 1] ?? 0))
    }
    return area
  }

  /** The shortest window in which so many pages are dirtied; infinity if no window has so many. */
  window(pages: number): number {
    if (!(pages > 0)) return 0
    if (pages > this.most) return Number.POSITIVE_INFINITY
    let low = 0
    let high = this.#last
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if ((this.#u[middle] ?? 0) < pages) low = middle
      else high = middle
    }
    const [fromT = 0, toT = 0] = [this.#t[low], this.#t[high]]
    const [fromU = 0, toU = 0] = [this.#u[low], this.#u[high]]
    return toU > fromU ? fromT + ((toT - fromT) * (pages - fromU)) / (toU - fromU) : fromT
  }

  /**
   * The longest window in which at least `pagesPerSecond` pages are dirtied in each second, on
   * average: R with U(R) = pagesPerSecond R. Zero if there is none.
   */
  lastAbove(pagesPerSecond: number): number {
    const above = (at: number): boolean =>
      (this.#u[at] ?? 0) > pagesPerSecond * (this.#t[at] ?? 0) * (1 + PRECISION)
    let at = this.#last
    while (at > 0 && !above(at)) at--
    if (at === 0) return 0
    const [fromT = 0, fromU = 0] = [this.#t[at], this.#u[at]]
    const toT = at < this.#last ? (this.#t[at + 1] ?? 0) : Number.POSITIVE_INFINITY
    const slope = Number.isFinite(toT) ? ((this.#u[at + 1] ?? fromU) - fromU) / (toT - fromT) : 0
    return (fromU - slope * fromT) / (pagesPerSecond - slope)
  }

  /** The windows of the points, with one of 0 before them. */
  get seconds(): Float64Array {
    return this.#t
  }

  /** Other pages in the same windows. */
  mapped(pagesOf: (seconds: number, pages: number) => number): Growth {
    const [t, u] = [this.#t, this.#u]
    const pages = new Float64Array(t.length)
    for (let at = 1; at < t.length; at++) pages[at] = pagesOf(t[at] ?? 0, u[at] ?? 0)
    return new Growth({ seconds: t, pages })
  }

  /** `factor` times the pages, in the same windows. */
  scaled(factor: number): Growth {
    return this.mapped((_, pages) => pages * factor)
  }

  /** The smallest concave function that is nowhere below this one. */
  concave(): Growth {
    const [t, u] = [this.#t, this.#u]
    // The points of the hull, by their places. The first one is at zero.
    const hull = new Int32Array(this.#last + 1)
    let top = 0
    for (let at = 1; at <= this.#last; at++) {
      while (top > 0 && isBelow(t, u, hull[top - 1] ?? 0, hull[top] ?? 0, at)) top--
      hull[++top] = at
    }
    const seconds = new Float64Array(top + 1)
    const pages = new Float64Array(top + 1)
    for (let at = 1; at <= top; at++) {
      seconds[at] = t[hull[at] ?? 0] ?? 0
      pages[at] = u[hull[at] ?? 0] ?? 0
    }
    return new Growth({ seconds, pages })
  }

  /** The segment that has t. */
  #find(t: number): number {
    const last = this.#last
    if (t >= (this.#t[last] ?? 0)) return last
    let low = 0
    let high = last
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if ((this.#t[middle] ?? 0) <= t) low = middle
      else high = middle
    }
    return low
  }
}

/** Whether the point `middle` is below the line, or on the line, from `from` to `to`. */
function isBelow(
  t: Float64Array,
  u: Float64Array,
  from: number,
  middle: number,
  to: number,
): boolean {
  const [t0 = 0, u0 = 0] = [t[from], u[from]]
  return (
    ((u[middle] ?? 0) - u0) * ((t[to] ?? 0) - t0) <= ((u[to] ?? 0) - u0) * ((t[middle] ?? 0) - t0)
  )
}

/** The sum of several curves. */
export function sumOf(parts: readonly Growth[]): Growth {
  if (parts.length === 1 && parts[0] !== undefined) return parts[0]
  const seconds = allSeconds(parts)
  const pages = seconds.map(t => parts.reduce((sum, part) => sum + part.at(t), 0))
  return new Growth({ seconds, pages })
}

/** The windows of all these curves, with one of 0 before them. */
export function allSeconds(curves: readonly Growth[]): Float64Array {
  const all = new Set<number>([0])
  for (const { seconds } of curves) for (const t of seconds) all.add(t)
  return Float64Array.from(all).sort()
}

/**
 * The smallest number from `low` to `high` that `holds`, if every larger one holds as well;
 * infinity if not even `high` holds.
 */
export function smallest(low: number, high: number, holds: (value: number) => boolean): number {
  if (!holds(high)) return Number.POSITIVE_INFINITY
  if (holds(low)) return low
  let [no, yes] = [low, high]
  for (let round = 0; round < BISECTIONS && yes - no > BISECTED * yes; round++) {
    // In the middle of their logarithms, because the answer may be of any size.
    const middle = no > 0 ? Math.sqrt(no * yes) : yes / 1024
    if (holds(middle)) yes = middle
    else no = middle
  }
  return yes
}
