/**
 * Plays the passes of a pre-copy migration over chunks of memory, whose curves are known. It
 * follows no single page: it knows of each piece of memory for how long its pages were not
 * protected, and the curve says how many of them are dirty then.
 */

import type { Growth } from './growth.js'
import type { Possible } from './model.js'

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

interface Piece {
  readonly chunk: number
  readonly growth: Growth
  /** The piece's share of the chunk's curve. */
  readonly share: number
  /** Pages with contents that are to be sent, as the last sync has found them. */
  known: number
  /** Pages of zeros that were not sent yet. */
  zeros: number
  /**
   * A window that dirties so many pages. Infinity before the first pass, when every page is to be
   * sent.
   */
  age: number
  /** The part that this pass has sent, and when its pages were protected again. */
  sent: number
  clearedAt: number
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
  const zeros = (): number => pieces.reduce((sum, piece) => sum + piece.zeros, 0)
  let filled = filledPages
  let pending = filled + (course.countsZeros ? zeros() : 0)
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
    pending = filled + (course.countsZeros ? zeros() : 0)
    least = Math.min(least, pending)
    if (least < progress.pages * (1 - NEARER)) progress = { passes, pages: least }
    if (course.leftPages > 0 && passes - progress.passes > PATIENCE) break
    if (course.leftPages === 0 && passes > 1 && before - pending < PROGRESS * before) break
  }
  const converged = pending <= Math.max(course.thresholdPages, NONE)
  const lastPages = converged ? filled : least
  return { converged, passes, sentPages, seconds, lastPages, lastZeros: zeros() }
}

function piecesOf({ parts }: Possible, filledPages: number, { leftPages }: Course): Piece[] {
  // A pass that leaves nothing ends in the middle of no chunk.
  const each = leftPages === 0 ? 1 : Math.ceil(PIECES / parts.length)
  const filled = filledOf(
    parts.map(({ growth, memoryPages }) => [growth.most, memoryPages]),
    filledPages,
  )
  const pieces: Piece[] = []
  for (const [at, { growth, chunk = at, memoryPages }] of parts.entries()) {
    const known = filled[at] ?? 0
    const zeros = Math.max(memoryPages - known, 0) / each
    for (let count = 0; count < each; count++) {
      pieces.push({
        chunk,
        growth,
        share: 1 / each,
        known: known / each,
        zeros,
        age: Number.POSITIVE_INFINITY,
        sent: 0,
        clearedAt: 0,
      })
    }
  }
  return pieces
}

/**
 * Which pages of each region are not zero, if `filled` of all are not: first those that are written
 * to, then the same part of the rest in each region.
 */
function filledOf(
  parts: readonly (readonly [written: number, all: number])[],
  filled: number,
): number[] {
  const written = parts.reduce((sum, [pages]) => sum + pages, 0)
  if (filled <= written || written === 0) {
    const all = parts.reduce((sum, [, pages]) => sum + pages, 0)
    return parts.map(([pages, memory]) =>
      written > 0 ? (pages * filled) / written : (memory * filled) / all,
    )
  }
  const rest = parts.reduce((sum, [pages, all]) => sum + Math.max(all - pages, 0), 0)
  const part = rest > 0 ? (filled - written) / rest : 0
  return parts.map(([pages, all]) => pages + Math.max(all - pages, 0) * part)
}

/** Sends `most` pages from `from` on, which becomes the place where the next pass begins. */
function send(
  pieces: Piece[],
  most: number,
  from: { piece: number; done: number },
  { pagesPerSecond, clearsAtStart, zeroSeconds, countsZeros }: Course,
): { pages: number; seconds: number } {
  const clearedAt = new Map<number, number>()
  const [start, doneBefore] = [from.piece, from.done]
  let [left, seconds, pages] = [most, 0, 0]
  for (let step = 0; step <= pieces.length; step++) {
    const at = (start + step) % pieces.length
    const piece = pieces[at]
    if (piece === undefined) break
    // The piece that the pass before has begun is sent in two parts.
    const part = step === 0 ? 1 - doneBefore : step === pieces.length ? doneBefore : 1
    // How many pages the whole piece counts for.
    const counted = piece.known + (countsZeros ? piece.zeros : 0)
    if (piece.known + piece.zeros <= 0) continue
    if (!clearedAt.has(piece.chunk)) clearedAt.set(piece.chunk, clearsAtStart ? 0 : seconds)
    const done = counted > 0 ? Math.min(part, left / counted) : part
    piece.sent += done
    piece.clearedAt = clearedAt.get(piece.chunk) ?? 0
    pages += done * piece.known
    seconds += (done * piece.known) / pagesPerSecond + done * piece.zeros * zeroSeconds
    left -= done * counted
    if (left <= 0) {
      from.piece = at
      from.done = Math.min((step === 0 ? doneBefore : 0) + done, 1)
      break
    }
  }
  if (from.done >= 1) {
    from.piece = (from.piece + 1) % pieces.length
    from.done = 0
  }
  return { pages, seconds }
}

/** The sync after a pass of `seconds`: how many pages are to be sent now. */
function sync(pieces: Piece[], seconds: number): number {
  let all = 0
  for (const piece of pieces) {
    const { growth, share, age, sent, clearedAt, known } = piece
    piece.zeros *= 1 - Math.min(sent, 1)
    // Most pieces were sent whole, or not at all, and then half of this counts for nothing.
    let pending = 0
    if (sent > 0) {
      const since = seconds - clearedAt
      // A page that is written between the sync and the clearing, and was clean at the sync, stays
      // dirty.
      const between =
        age === Number.POSITIVE_INFINITY || since === seconds
          ? 0
          : growth.at(age + seconds) - growth.at(age + since)
      pending += sent * share * (growth.at(since) + between)
    }
    if (sent !== 1) {
      const unsent =
        age === Number.POSITIVE_INFINITY
          ? Math.max(known, share * growth.at(seconds))
          : share * growth.at(age + seconds)
      pending += (1 - sent) * unsent
    }
    piece.known = pending
    // An age must not become infinite by rounding alone.
    const window = growth.window(pending / share)
    piece.age =
      Number.isFinite(window) || pending > share * growth.most * (1 + 1e-9) ? window : age + seconds
    piece.sent = 0
    piece.clearedAt = 0
    all += pending
  }
  return all
}
