/** Guests that write to their memory by a known rule, with their exact curves. */

/** What a guest writes, in the order of time. */
export interface Writer {
  /** Calls `write` for each page that is written until `seconds`. */
  run(seconds: number, write: (page: number) => void): void
}

/** Distinct pages in a window, in total or in a chunk, on average over all windows. */
export type Exact = (seconds: number) => number

export interface Guest {
  name: string
  /** A writer of its own, which begins again. */
  writer(): Writer
  /** The curve of each chunk. */
  chunks: readonly Exact[]
}

/** Writes `pagesPerSecond` times a second a page of `next()`. */
class Paced implements Writer {
  readonly #pagesPerSecond: number
  readonly #next: () => number
  #written = 0

  constructor(pagesPerSecond: number, next: () => number) {
    this.#pagesPerSecond = pagesPerSecond
    this.#next = next
  }

  run(seconds: number, write: (page: number) => void): void {
    const until = Math.floor(seconds * this.#pagesPerSecond)
    for (; this.#written < until; this.#written++) write(this.#next())
  }
}

/** Several writers beside each other. */
export function together(writers: readonly Writer[]): Writer {
  return {
    run: (seconds, write) => {
      for (const writer of writers) writer.run(seconds, write)
    },
  }
}

/** A generator of numbers from 0 to 1, by Mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export interface Memory {
  chunks: number
  chunkPages: number
}

const chunkList = ({ chunks }: Memory, of: (chunk: number) => Exact): Exact[] =>
  Array.from({ length: chunks }, (_, chunk) => of(chunk))

/** Writes any of the pages of a list, all of them with the same chance. */
export function uniform(memory: Memory, set: readonly number[], rate: number, seed: number): Guest {
  const inChunk = (chunk: number): number =>
    set.filter(page => Math.floor(page / memory.chunkPages) === chunk).length
  return {
    name: 'uniform',
    writer: () => {
      const random = randomFrom(seed)
      return new Paced(rate, () => set[Math.floor(random() * set.length)] ?? 0)
    },
    chunks: chunkList(memory, chunk => {
      const pages = inChunk(chunk)
      return t => pages * -Math.expm1((-rate * t) / set.length)
    }),
  }
}

/** Writes the pages of a list in the order of the list, again and again. */
export function stride(memory: Memory, set: readonly number[], rate: number): Guest {
  const inChunk = (chunk: number): number =>
    set.filter(page => Math.floor(page / memory.chunkPages) === chunk).length
  return {
    name: 'stride',
    writer: () => {
      let at = 0
      return new Paced(rate, () => set[at++ % set.length] ?? 0)
    },
    chunks: chunkList(memory, chunk => {
      const share = inChunk(chunk) / set.length
      return t => share * Math.min(rate * t, set.length)
    }),
  }
}

/** Two guests that write independently of each other. */
export function both(name: string, a: Guest, b: Guest): Guest {
  return {
    name,
    writer: () => together([a.writer(), b.writer()]),
    chunks: a.chunks.map((of, chunk) => t => of(t) + (b.chunks[chunk]?.(t) ?? 0)),
  }
}

/** So many pages, at the same distance from each other in the whole memory. */
export function spreadPages({ chunks, chunkPages }: Memory, count: number, first = 0): number[] {
  const all = chunks * chunkPages
  return Array.from({ length: count }, (_, at) => Math.floor((first + (at * all) / count) % all))
}

/** So many pages, one behind the other. */
export function packedPages(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, at) => first + at)
}

/** The same pages in another order. */
export function shuffled(pages: readonly number[], seed: number): number[] {
  const random = randomFrom(seed)
  const made = [...pages]
  for (let at = made.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1))
    ;[made[at], made[other]] = [made[other] ?? 0, made[at] ?? 0]
  }
  return made
}

/** How long a recorded guest is, in writes. */
const RECORDED = 400_000

/**
 * A guest that is known only by its record: bursts of writes to pages that are near each other,
 * some of them more often than others. Its curve is counted, and not computed.
 */
export function recorded(memory: Memory, pages: number, rate: number): Guest {
  const random = randomFrom(11)
  const record: number[] = []
  while (record.length < RECORDED) {
    // The square makes low pages more frequent, and the product spreads them over all of memory.
    const first = Math.floor(random() ** 2 * pages * 0.6) * 7919
    const length = 1 + Math.floor(random() * 12)
    for (let at = 0; at < length; at++) record.push((first + at) % pages)
  }
  const chunkOf = (page: number): number => Math.floor(page / memory.chunkPages)
  const counted = new Map<number, readonly number[]>()
  /** Distinct pages by chunk in a window of so many writes, as a mean over some windows. */
  const count = (writes: number): readonly number[] => {
    const known = counted.get(writes)
    if (known !== undefined) return known
    const sums = new Array<number>(memory.chunks).fill(0)
    const windows = 6
    for (let window = 0; window < windows; window++) {
      const from = Math.floor((window * (RECORDED - Math.min(writes, RECORDED))) / windows)
      for (const page of new Set(record.slice(from, from + writes)))
        sums[chunkOf(page)] = (sums[chunkOf(page)] ?? 0) + 1 / windows
    }
    counted.set(writes, sums)
    return sums
  }
  return {
    name: 'recorded',
    writer: () => {
      let at = 0
      return new Paced(rate, () => record[at++ % RECORDED] ?? 0)
    },
    chunks: chunkList(memory, chunk => t => count(Math.round(rate * t))[chunk] ?? 0),
  }
}
