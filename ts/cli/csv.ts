/**
 * Results as CSV, by RFC 4180: a line of names, then a line for each record; every line ends with
 * CR and LF. The names of columns are those of the JSON documents. A value that is not known is
 * empty.
 */

import type { DirtyRateMeasurement } from '../qapi/info.js'
import type { DirtyRateCurve } from '../results/curve.js'

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

const CURVE_COLUMNS: Columns<CurveRecord> = {
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
