/**
 * Plays the passes of a pre-copy migration over chunks of memory, whose curves are known. It
 * follows no single page: it knows of each piece of memory for how long its pages were not
 * protected, and the curve says how many of them are dirty then.
 */

import type { Growth } from './growth.js'
import type { Part, Possible } from './model.js'

/** A migration, in pages and seconds. */
export interface Course {
  /** What the link carries. */
  readonly pagesPerSecond: number
  /** What may be left when the guest is stopped. */
  readonly thresholdPages: number
  /** What a pass leaves to the next one; 0 if it sends all of its pages. */
  readonly leftPages: number
  /** Whether all pages are protected again at the start of a pass. */
  readonly clearsAtStart: boolean
  /** How long a page of zeros takes, in seconds. Each is sent once. */
  readonly zeroSeconds: number
  /** Whether pages of zeros that are not sent yet count as pages that are left. */
  readonly countsZeros: boolean
  /** After so many passes the migration is over in any case. */
  readonly mostPasses?: number
}

/**
 * How the migration went until the guest was stopped, or until it was clear that it will not end.
 */
export interface Played {
  readonly converged: boolean
  readonly passes: number
  /** Pages that were sent while the guest ran. */
  readonly sentPages: number
  /** How long the guest ran. */
  readonly seconds: number
  /**
   * Pages with contents that were left when the guest was stopped. If the migration does not end:
   * the fewest pages that were ever left, with those of zeros where they count.
   */
  readonly lastPages: number
  /** Pages of zeros that were left at last. */
  readonly lastZeros: number
}

/** All pieces of memory. In columns, because a plan of a fleet follows millions of pieces. */
interface Pieces extends Columns {
  readonly count: number
  /** The share that a piece has of the curve of its region. */
  readonly share: number
  readonly growths: readonly Growth[]
  /** The chunks of the pieces, and how many chunks there are. */
  readonly chunks: readonly number[]
  readonly chunkCount: number
}

/** What is known of each piece. */
interface Columns {
  /** Pages with contents that are to be sent, as the last sync has found them. */
  readonly known: Float64Array
  /** Pages of zeros that were not sent yet. */
  readonly zeros: Float64Array
  /**
   * A window that dirties so many pages. Infinity before the first pass, when every page is to be
   * sent.
   */
  readonly age: Float64Array
  /** The part that this pass has sent, and when its pages were protected again. */
  readonly sent: Float64Array
  readonly clearedAt: Float64Array
}

/** Memory is followed in at least so many pieces. */
const PIECES = 64
const MOST_PASSES = 2000
/** A migration that has come no nearer to its end in so many passes does not end. */
const PATIENCE = 60
const NEARER = 1e-3
/** Pages fewer than this are none. */
const NONE = 1e-3
/**
 * A pass that leaves less than this fewer pages than the one before, as a part of them, is the
 * last.
 */
const PROGRESS = 1e-7

/** Plays the migration of memory with `filledPages` pages that are not zero. */
export function play(possible: Possible, filledPages: number, course: Course): Played {
  const pieces = piecesOf(possible, filledPages, course)
  const { mostPasses = MOST_PASSES } = course
  let zeros = sumOf(pieces.zeros, pieces.count)
  let filled = filledPages
  let pending = filled + (course.countsZeros ? zeros : 0)
  let [passes, sentPages, seconds, least] = [0, 0, 0, pending]
  const from = { piece: 0, done: 0 }
  let progress = { passes: 0, pages: pending }
  while (pending > Math.max(course.thresholdPages, NONE) && passes < mostPasses) {
    const pass = send(pieces, pending - course.leftPages, from, course)
    passes++
    sentPages += pass.pages
    seconds += pass.seconds
    const before = pending
    filled = sync(pieces, pass.seconds)
    zeros = sumOf(pieces.zeros, pieces.count)
    pending = filled + (course.countsZeros ? zeros : 0)
    least = Math.min(least, pending)
    if (least < progress.pages * (1 - NEARER)) progress = { passes, pages: least }
    if (course.leftPages > 0 && passes - progress.passes > PATIENCE) break
    if (course.leftPages === 0 && passes > 1 && before - pending < PROGRESS * before) break
  }
  const converged = pending <= Math.max(course.thresholdPages, NONE)
  const lastPages = converged ? filled : least
  return { converged, passes, sentPages, seconds, lastPages, lastZeros: zeros }
}

function sumOf(values: Float64Array, count: number): number {
  let sum = 0
  for (let at = 0; at < count; at++) sum += values[at] ?? 0
  return sum
}

/** The columns of one migration after the other: to make them takes longer than most migrations. */
let reused = columnsFor(PIECES)

function columnsFor(count: number): Columns {
  const column = (): Float64Array => new Float64Array(count)
  return { known: column(), zeros: column(), age: column(), sent: column(), clearedAt: column() }
}

function piecesOf({ parts }: Possible, filledPages: number, { leftPages }: Course): Pieces {
  // A pass that leaves nothing ends in the middle of no chunk.
  const each = leftPages === 0 ? 1 : Math.ceil(PIECES / parts.length)
  const filled = filledOf(parts, filledPages)
  const count = parts.length * each
  const growths: Growth[] = []
  const chunks: number[] = []
  if (reused.known.length < count) reused = columnsFor(count)
  const { known, zeros, age, sent, clearedAt } = reused
  age.fill(Number.POSITIVE_INFINITY, 0, count)
  sent.fill(0, 0, count)
  clearedAt.fill(0, 0, count)
  let chunkCount = 0
  for (let at = 0; at < parts.length; at++) {
    const { growth, chunk = at, memoryPages } = parts[at] as Part
    const pages = filled[at] ?? 0
    chunkCount = Math.max(chunkCount, chunk + 1)
    for (let piece = at * each; piece < (at + 1) * each; piece++) {
      growths.push(growth)
      chunks.push(chunk)
      known[piece] = pages / each
      zeros[piece] = Math.max(memoryPages - pages, 0) / each
    }
  }
  return {
    count,
    share: 1 / each,
    growths,
    chunks,
    chunkCount,
    known,
    zeros,
    age,
    sent,
    clearedAt,
  }
}

/**
 * Which pages of each region are not zero, if `filled` of all are not: first those that are written
 * to, then the same part of the rest in each region.
 */
function filledOf(parts: readonly Part[], filled: number): number[] {
  const written = parts.reduce((sum, { growth }) => sum + growth.most, 0)
  if (filled <= written || written === 0) {
    const all = parts.reduce((sum, { memoryPages }) => sum + memoryPages, 0)
    return parts.map(({ growth, memoryPages }) =>
      written > 0 ? (growth.most * filled) / written : (memoryPages * filled) / all,
    )
  }
  const rest = parts.reduce(
    (sum, { growth, memoryPages }) => sum + Math.max(memoryPages - growth.most, 0),
    0,
  )
  const part = rest > 0 ? (filled - written) / rest : 0
  return parts.map(
    ({ growth, memoryPages }) => growth.most + Math.max(memoryPages - growth.most, 0) * part,
  )
}

/** Sends `most` pages from `from` on, which becomes the place where the next pass begins. */
function send(
  { count, chunks, chunkCount, known, zeros, sent, clearedAt }: Pieces,
  most: number,
  from: { piece: number; done: number },
  { pagesPerSecond, clearsAtStart, zeroSeconds, countsZeros }: Course,
): { pages: number; seconds: number } {
  // When this pass has come to each chunk; below zero before that.
  const cameAt = new Array<number>(chunkCount).fill(-1)
  const [start, doneBefore] = [from.piece, from.done]
  let [left, seconds, pages] = [most, 0, 0]
  for (let step = 0; step <= count; step++) {
    const at = start + step < count ? start + step : start + step - count
    const filled = known[at] ?? 0
    const empty = zeros[at] ?? 0
    const chunk = chunks[at] ?? 0
    // The piece that the pass before has begun is sent in two parts.
    const part = step === 0 ? 1 - doneBefore : step === count ? doneBefore : 1
    // How many pages the whole piece counts for.
    const counted = filled + (countsZeros ? empty : 0)
    if (filled + empty <= 0) continue
    if ((cameAt[chunk] ?? 0) < 0) cameAt[chunk] = clearsAtStart ? 0 : seconds
    const done = counted > 0 ? Math.min(part, left / counted) : part
    sent[at] = (sent[at] ?? 0) + done
    clearedAt[at] = cameAt[chunk] ?? 0
    pages += done * filled
    seconds += (done * filled) / pagesPerSecond + done * empty * zeroSeconds
    left -= done * counted
    if (left <= 0) {
      from.piece = at
      from.done = Math.min((step === 0 ? doneBefore : 0) + done, 1)
      break
    }
  }
  if (from.done >= 1) {
    from.piece = (from.piece + 1) % count
    from.done = 0
  }
  return { pages, seconds }
}

/** The sync after a pass of `seconds`: how many pages are to be sent now. */
function sync(pieces: Pieces, seconds: number): number {
  const { count, growths, zeros, known, age, sent, clearedAt } = pieces
  let all = 0
  // What the piece before had, and has now: most pieces of a chunk are alike.
  let [sentBefore, clearedBefore, knownBefore, ageBefore] = [-1, -1, -1, -1]
  let growthBefore: Growth | undefined
  let [pending, ageNow] = [0, 0]
  for (let at = 0; at < count; at++) {
    const growth = growths[at]
    const part = sent[at] ?? 0
    const cleared = clearedAt[at] ?? 0
    const pages = known[at] ?? 0
    const window = age[at] ?? 0
    const isAlike =
      part === sentBefore &&
      cleared === clearedBefore &&
      pages === knownBefore &&
      window === ageBefore &&
      growth === growthBefore
    if (!isAlike) {
      pending = pendingOf(pieces, at, seconds)
      ageNow = ageOf(pieces, at, pending, seconds)
      sentBefore = part
      clearedBefore = cleared
      knownBefore = pages
      ageBefore = window
      growthBefore = growth
    }
    zeros[at] = (zeros[at] ?? 0) * (1 - Math.min(part, 1))
    known[at] = pending
    age[at] = ageNow
    sent[at] = 0
    clearedAt[at] = 0
    all += pending
  }
  return all
}

/** How many pages of a piece are to be sent after a pass of `seconds`. */
function pendingOf(pieces: Pieces, at: number, seconds: number): number {
  const { share } = pieces
  const growth = pieces.growths[at] as Growth
  const age = pieces.age[at] ?? 0
  const sent = pieces.sent[at] ?? 0
  const isFirst = age === Number.POSITIVE_INFINITY
  // Most pieces were sent whole, or not at all, and then half of this counts for nothing.
  let pending = 0
  if (sent > 0) {
    const since = seconds - (pieces.clearedAt[at] ?? 0)
    // A page that is written between the sync and the clearing, and was clean at the sync, stays
    // dirty.
    const between =
      isFirst || since === seconds ? 0 : growth.at(age + seconds) - growth.at(age + since)
    pending += sent * share * (growth.at(since) + between)
  }
  if (sent !== 1) {
    const unsent = isFirst
      ? Math.max(pieces.known[at] ?? 0, share * growth.at(seconds))
      : share * growth.at(age + seconds)
    pending += (1 - sent) * unsent
  }
  return pending
}

/** The window that dirties as many pages of a piece as are to be sent after a pass. */
function ageOf(
  { share, growths, age }: Pieces,
  at: number,
  pending: number,
  seconds: number,
): number {
  const growth = growths[at] as Growth
  const window = growth.window(pending / share)
  // An age must not become infinite by rounding alone.
  const isKnown = Number.isFinite(window) || pending > share * growth.most * (1 + 1e-9)
  return isKnown ? window : (age[at] ?? 0) + seconds
}
