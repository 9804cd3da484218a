/** Draws the pixels of a heat map. The elements around its canvas have its axes and its legend. */

import { type CellColumn, UNKNOWN } from '../state/cells.js'
import type { TimeRange } from '../state/time-range.js'
import type { Palette } from './palette.js'
import { levelsOf, type RowCache, type RowFigures, type RowsView } from './rows.js'
import { EMPTY_SCALE, type Scale, scaleFor } from './scale.js'

/** What `ImageData` is to this module. */
export interface Pixels {
  readonly width: number
  readonly height: number
  readonly data: Uint8ClampedArray<ArrayBuffer>
}

/** The rows of pixels at the top of a column that mark an incomplete window. */
const MARK_ROWS = 6
/** A line through times without figures, each so many pixels; and the dots of unknown cells. */
const HATCH = 8
const DOTS = 4

/** The columns of the pixels, from the left: which windows each of them shows. */
interface Strip {
  readonly first: number
  readonly last: number
}

export interface Drawn {
  readonly scale: Scale
}

/**
 * Draws the columns, which are in order, into `image`. A pixel that stands for several windows
 * shows the hottest one.
 */
export function drawHeatMap(
  image: Pixels,
  columns: readonly CellColumn[],
  time: TimeRange,
  view: RowsView,
  cache: RowCache,
  palette: Palette,
): Drawn {
  const { width, height } = image
  const pixels = new Uint32Array(image.data.buffer)
  const strips = stripsOf(columns, time, width)
  const figures = columns.map(column => cache.figures(column, view))
  const scale = scaleOfAll(columns, figures)
  const levels = columns.map((column, at) => levelsOf(figures[at], column.seconds, scale))
  const strip = new Uint32Array(height)
  let painted: Strip | undefined
  for (let x = 0; x < width; x++) {
    const wanted = strips[x]
    if (wanted === undefined) {
      for (let y = 0; y < height; y++) pixels[y * width + x] = hatchAt(x, y, palette)
      continue
    }
    const isSame = painted?.first === wanted.first && painted.last === wanted.last
    if (!isSame) paint(strip, columns, levels, wanted, palette)
    painted = wanted
    for (let y = 0; y < height; y++) {
      const colour = strip[y] ?? 0
      pixels[y * width + x] = colour === 0 ? dotAt(x, y, palette) : colour
    }
  }
  return { scale }
}

/** The scale of all columns in view. */
function scaleOfAll(
  columns: readonly CellColumn[],
  figures: readonly (RowFigures | undefined)[],
): Scale {
  let least = Number.POSITIVE_INFINITY
  let most = 0
  figures.forEach((rows, at) => {
    const seconds = columns[at]?.seconds ?? 1
    if (rows === undefined || rows.most === 0) return
    least = Math.min(least, rows.least / seconds)
    most = Math.max(most, rows.most / seconds)
  })
  return most === 0 ? EMPTY_SCALE : scaleFor(least, most)
}

/** For each column of pixels the windows that it shows; undefined where there is none. */
function stripsOf(
  columns: readonly CellColumn[],
  { from, to }: TimeRange,
  width: number,
): (Strip | undefined)[] {
  const strips: (Strip | undefined)[] = new Array(width)
  const perMs = width / (to - from)
  columns.forEach((column, at) => {
    const first = Math.round((column.from - from) * perMs)
    // A window is seen, however short it is.
    const end = Math.max(Math.round((column.at - from) * perMs), first + 1)
    for (let x = Math.max(first, 0); x < Math.min(end, width); x++)
      strips[x] = { first: strips[x]?.first ?? at, last: at }
  })
  return strips
}

/** One column of pixels. 0 stands for a cell about which nothing is known. */
function paint(
  strip: Uint32Array,
  columns: readonly CellColumn[],
  levels: readonly (Int16Array | undefined)[],
  { first, last }: Strip,
  palette: Palette,
): void {
  for (let y = 0; y < strip.length; y++) {
    let hottest = UNKNOWN
    for (let at = first; at <= last; at++) hottest = Math.max(hottest, levels[at]?.[y] ?? UNKNOWN)
    strip[y] = hottest === UNKNOWN ? 0 : (palette.levels[hottest] ?? 0)
  }
  for (let at = first; at <= last; at++)
    if (columns[at]?.complete === false) strip.fill(palette.incomplete, 0, MARK_ROWS)
}

const hatchAt = (x: number, y: number, { nothing, hatch }: Palette): number =>
  (x + y) % HATCH === 0 ? hatch : nothing

const dotAt = (x: number, y: number, { nothing, hatch }: Palette): number =>
  x % DOTS === 0 && y % DOTS === 0 ? hatch : nothing
