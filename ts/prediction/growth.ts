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

export class Growth {
  // Flat arrays, because a plan of a fleet makes millions of these.
  readonly #t: Float64Array
  readonly #u: Float64Array
  /** The integral from zero to each point. */
  readonly #area: Float64Array
  readonly #last: number

  /**
   * `points` are in ascending order of their seconds, which are above 0. The pages of a point that
   * are fewer than those of the point before count as equal to them.
   */
  constructor(points: readonly GrowthPoint[]) {
    const t = new Float64Array(points.length + 1)
    const u = new Float64Array(points.length + 1)
    const area = new Float64Array(points.length + 1)
    let [last, lastT, lastU, lastArea] = [0, 0, 0, 0]
    for (const point of points) {
      const seconds = point[0]
      if (!(seconds > lastT)) continue
      const next = Math.max(point[1], lastU)
      lastArea += ((lastU + next) / 2) * (seconds - lastT)
      last++
      t[last] = seconds
      u[last] = next
      area[last] = lastArea
      lastT = seconds
      lastU = next
    }
    this.#t = t
    this.#u = u
    this.#area = area
    this.#last = last
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
    const lower = this.#find(t)
    const from = this.#u[lower] ?? 0
    const to = this.#within(lower, t)
    return (this.#area[lower] ?? 0) + ((from + to) / 2) * (t - (this.#t[lower] ?? 0))
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

  /** `factor` times the pages, in the same windows. */
  scaled(factor: number): Growth {
    return new Growth(this.points.map(([t, u]) => [t, u * factor]))
  }

  /** The curve of writers that run at `speed` times their speed. */
  slowed(speed: number): Growth {
    return new Growth(this.points.map(([t, u]) => [t / speed, u]))
  }

  /** The smallest concave function that is nowhere below this one. */
  concave(): Growth {
    const hull: GrowthPoint[] = [[0, 0]]
    for (const point of this.points) {
      while (hull.length > 1 && isBelow(hull.at(-2), hull.at(-1), point)) hull.pop()
      hull.push(point)
    }
    return new Growth(hull.slice(1))
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

/** Whether `middle` is below the line, or on the line, from `from` to `to`. */
function isBelow(
  [t0, u0]: GrowthPoint = [0, 0],
  [t1, u1]: GrowthPoint = [0, 0],
  [t2, u2]: GrowthPoint,
): boolean {
  return (u1 - u0) * (t2 - t0) <= (u2 - u0) * (t1 - t0)
}

/** The sum of several curves. */
export function sumOf(parts: readonly Growth[]): Growth {
  if (parts.length === 1 && parts[0] !== undefined) return parts[0]
  const times = [...new Set(parts.flatMap(part => part.points.map(([t]) => t)))].sort(
    (a, b) => a - b,
  )
  return new Growth(times.map(t => [t, parts.reduce((sum, part) => sum + part.at(t), 0)]))
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
