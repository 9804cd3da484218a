/**
 * Results as CSV, by RFC 4180: a line of names, then a line for each record; every line ends with
 * CR and LF. The names of columns are those of the JSON documents. A value that is not known is
 * empty.
 */

import type { DirtyRateMeasurement } from '../qapi/info.js'
import type { CurveRegion, CurveRound, DirtyRateCurve } from '../results/curve.js'

type Value = string | number | boolean | null | undefined

/** A column: its name, and its value in a record. */
type Columns<T> = Readonly<Record<string, (record: T) => Value>>

/** The members of a measurement that both kinds of records have. */
type Figures = Pick<DirtyRateMeasurement, 'pages' | 'bytesPerSecond' | 'interval' | 'truth'>

const FIGURES: Columns<Figures> = {
  pages: ({ pages }) => pages,
  bytesPerSecond: ({ bytesPerSecond }) => bytesPerSecond,
  low: ({ interval }) => interval.low,
  high: ({ interval }) => interval.high,
  confidence: ({ interval }) => interval.confidence,
  truthLow: ({ truth }) => truth?.low,
  truthHigh: ({ truth }) => truth?.high,
}

/** A window of `watch`. */
export const WATCH_COLUMNS: Columns<DirtyRateMeasurement> = {
  startedAt: ({ startedAt }) => startedAt,
  mode: ({ mode }) => mode,
  requestedMs: ({ window }) => window.requestedMs,
  windowNs: ({ window }) => window.ns,
  pageSize: ({ pageSize }) => pageSize,
  ...FIGURES,
  complete: ({ complete }) => complete,
  warnings: ({ warnings }) => warnings.map(({ code }) => code).join(' '),
}

/** A window of a curve, together with the curve. */
export interface CurveRecord {
  curve: DirtyRateCurve
  point: DirtyRateCurve['points'][number]
  /** The number of the point, which is that of its column in the other members of the curve. */
  at: number
}

/** The columns of a curve: two for each size of granules, and three if it was repeated. */
export function curveColumns({
  granularities = [],
  repeated,
}: DirtyRateCurve): Columns<CurveRecord> {
  const granules = granularities.flatMap(({ granuleBytes, dirtyGranules, extents }) => [
    [`dirtyGranules${granuleBytes}`, ({ at }: CurveRecord) => dirtyGranules[at]] as const,
    [`extents${granuleBytes}`, ({ at }: CurveRecord) => extents[at]] as const,
  ])
  const spread: Columns<CurveRecord> = {
    standardDeviation: ({ at }) => repeated?.spread[at]?.standardDeviation,
    least: ({ at }) => repeated?.spread[at]?.least,
    most: ({ at }) => repeated?.spread[at]?.most,
  }
  return {
    ...CURVE_COLUMNS,
    ...Object.fromEntries(granules),
    ...(repeated === undefined ? {} : spread),
  }
}

const CURVE_COLUMNS = {
  startedAt: ({ curve }) => curve.startedAt,
  mode: ({ curve }) => curve.mode,
  requestedMs: ({ point }) => point.requestedMs,
  windowNs: ({ point }) => point.windowNs,
  pageSize: ({ curve }) => curve.pageSize,
  ...Object.fromEntries(
    Object.entries(FIGURES).map(([name, value]) => [
      name,
      ({ point }: CurveRecord) => value(point),
    ]),
  ),
  complete: ({ curve }) => curve.complete,
  warnings: ({ curve }) => curve.warnings.map(({ code }) => code).join(' '),
} satisfies Columns<CurveRecord>

/** A region of a curve in one window. */
interface RegionRecord extends CurveRecord {
  region: CurveRegion
}

/** The columns of the regions of a curve. Their bounds are those of the pages. */
export const REGION_COLUMNS: Columns<RegionRecord> = {
  startedAt: CURVE_COLUMNS.startedAt,
  mode: CURVE_COLUMNS.mode,
  block: ({ region }) => region.block,
  offset: ({ region }) => region.offset,
  guestAddress: ({ region }) => region.guestAddress,
  bytes: ({ region }) => region.bytes,
  requestedMs: CURVE_COLUMNS.requestedMs,
  windowNs: CURVE_COLUMNS.windowNs,
  pageSize: CURVE_COLUMNS.pageSize,
  pages: ({ region, at }) => region.pages[at],
  low: ({ region, at }) => region.low?.[at],
  high: ({ region, at }) => region.high?.[at],
  complete: CURVE_COLUMNS.complete,
  warnings: CURVE_COLUMNS.warnings,
}

/** A round of a repeated curve in one window. */
interface RoundRecord extends CurveRecord {
  round: CurveRound
  number: number
}

/** The columns of the rounds of a repeated curve. */
export const ROUND_COLUMNS: Columns<RoundRecord> = {
  startedAt: ({ round }) => round.startedAt,
  mode: CURVE_COLUMNS.mode,
  round: ({ number }) => number,
  requestedMs: CURVE_COLUMNS.requestedMs,
  pageSize: CURVE_COLUMNS.pageSize,
  pages: ({ round, at }) => round.pages?.[at],
  bytesPerSecond: ({ round, at }) => round.bytesPerSecond[at],
  complete: CURVE_COLUMNS.complete,
  warnings: CURVE_COLUMNS.warnings,
}

/** What the lines of a curve are. Those of regions and of rounds are one for each window too. */
export const curveRows = ['windows', 'regions', 'rounds'] as const
export type CurveRows = (typeof curveRows)[number]

/** The lines of a curve, the line of names first. */
export function curveLines(curve: DirtyRateCurve, rows: CurveRows): string[] {
  const windows = curve.points.map((point, at): CurveRecord => ({ curve, point, at }))
  switch (rows) {
    case 'windows':
      return csvLines(curveColumns(curve), windows)
    case 'regions': {
      const { regions = [] } = curve
      const records = regions.flatMap(region => windows.map(of => ({ ...of, region })))
      return csvLines(REGION_COLUMNS, records)
    }
    case 'rounds': {
      const { rounds = [] } = curve.repeated ?? {}
      const records = rounds.flatMap((round, number) =>
        windows.map(of => ({ ...of, round, number })),
      )
      return csvLines(ROUND_COLUMNS, records)
    }
  }
}

function csvLines<T>(columns: Columns<T>, records: readonly T[]): string[] {
  return [csvHeader(columns), ...records.map(record => csvRecord(columns, record))]
}

/** The line of names. */
export function csvHeader<T>(columns: Columns<T>): string {
  return csvLine(Object.keys(columns))
}

/** The line of a record. */
export function csvRecord<T>(columns: Columns<T>, record: T): string {
  return csvLine(Object.values(columns).map(value => value(record)))
}

/** One line, with its CR and LF. */
export function csvLine(values: readonly Value[]): string {
  return `${values.map(field).join(',')}\r\n`
}

/**
 * Puts a value into quotation marks if it contains a quotation mark, a comma, or the end of a line.
 */
function field(value: Value): string {
  const text = String(value ?? '')
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
