/**
 * What `curve` says below its table: granules, regions, memory, what the curve cost the guest, and
 * the rounds of a repeated curve.
 */

import { formatSize } from '../ground/units.js'
import type { Bounded, CurveRegion, DirtyRateCurve, RepeatedCurve } from '../results/curve.js'
import { guestActivity } from './guest-activity.js'
import type { Rates } from './rate-unit.js'
import type { Session } from './session.js'
import { Table } from './table.js'
import { count, measuredSize, ms, size, widthOf } from './text.js'

/** The column in which values begin, behind the longest name. */
const VALUES_BEGIN = 12
/** More regions than a reader looks at are in the document of --json. */
const MOST_REGIONS = 8

/** Prints whatever the curve has beside its points. */
export function printDetails(session: Session, curve: DirtyRateCurve, rates: Rates): void {
  printGranularities(session, curve)
  printRegions(session, curve)
  const { zeroPages, compressedRatio, compressionBytesPerSecond } = curve.memory ?? {}
  if (zeroPages !== undefined && curve.pageSize !== undefined)
    session.field(
      'zero pages',
      bounded(zeroPages, pages => size(pages * (curve.pageSize ?? 0))),
      VALUES_BEGIN,
    )
  if (compressedRatio !== undefined)
    session.field(
      'compressed',
      bounded(compressedRatio, ratio => `${(100 * ratio).toFixed(0)} %`) +
        (compressionBytesPerSecond === undefined
          ? ''
          : `, by one CPU ${measuredSize(compressionBytesPerSecond)}/s`),
      VALUES_BEGIN,
    )
  if (curve.cost !== undefined)
    for (const activity of guestActivity(curve.cost.guest)) field(session, 'guest', activity)
  if (curve.repeated !== undefined) printRounds(session, curve.repeated, rates)
}

function field(session: Session, name: string, value: string): void {
  session.field(name, value, VALUES_BEGIN)
}

function bounded({ value, low, high }: Bounded, text: (value: number) => string): string {
  return `${text(value)} (${text(low)} to ${text(high)})`
}

/** One row for each window, and two columns for each size of granules. */
function printGranularities(
  session: Session,
  { points, granularities = [] }: DirtyRateCurve,
): void {
  if (granularities.length === 0) return
  const columns = granularities.flatMap(({ granuleBytes, dirtyGranules, extents }) => [
    { title: `of ${formatSize(granuleBytes)}`, values: dirtyGranules.map(whole) },
    { title: 'extents', values: extents.map(whole) },
  ])
  const windows = { title: 'window', values: points.map(({ windowNs }) => ms(windowNs)) }
  const all = [windows, ...columns]
  const table = new Table(
    all.map(({ title, values }) => ({
      title,
      width: Math.max(...values.map(({ length }) => length)),
    })),
    text => session.bold(text),
  )
  session.print()
  for (const [at] of points.entries()) {
    const cells = all.map(({ values }) => values[at] ?? '-')
    for (const line of table.row(cells, session.columns)) session.print(line)
  }
}

/** The means of several rounds need not be whole. */
function whole(value: number): string {
  return count(Math.round(value))
}

/** The regions with the most dirty pages in the longest window. */
function printRegions(session: Session, { regions = [], pageSize = 0 }: DirtyRateCurve): void {
  // One region says nothing that the table has not said.
  if (regions.length < 2) return
  const dirty = (region: CurveRegion): number => region.pages.at(-1) ?? 0
  const written = regions.filter(region => dirty(region) > 0)
  const shown = [...written].sort((a, b) => dirty(b) - dirty(a)).slice(0, MOST_REGIONS)
  const rest = written.length - shown.length
  const places = shown.map(({ block, offset }) => `${block} + ${size(offset)}`)
  const begin = Math.max(VALUES_BEGIN, ...places.map(place => widthOf(place) + 2))
  session.print()
  for (const [at, region] of shown.entries()) {
    const value = `${measuredSize(dirty(region) * pageSize)} of ${size(region.bytes)}`
    session.field(places[at] ?? '', value, begin)
  }
  const clean = regions.length - written.length
  if (rest > 0) field(session, 'others', `${rest} more with dirty pages`)
  if (clean > 0) field(session, 'clean', `${clean} of ${regions.length} regions of 1 GiB`)
}

function printRounds(session: Session, repeated: RepeatedCurve, rates: Rates): void {
  const { rounds, spread, stationary, tests, phases } = repeated
  const last = spread.at(-1)
  session.print()
  field(session, 'rounds', count(rounds.length))
  if (last !== undefined) {
    const { standardDeviation, least, most } = last
    field(
      session,
      'spread',
      `${rates.rate(least)} to ${rates.rate(most)}, standard deviation ${rates.rate(standardDeviation)}, in the longest window`,
    )
  }
  const said = tests.map(({ name, pValue }) => `${name} p = ${pValue.toPrecision(2)}`)
  const verdict = tests.length === 0 ? 'too few rounds to say' : stationary ? 'yes' : 'no'
  field(session, 'stationary', said.length === 0 ? verdict : `${verdict} (${said.join(', ')})`)
  if (phases.length < 2) return
  const begin = Math.max(...phases.map(({ startedAt }) => `from ${startedAt}`.length)) + 2
  for (const { startedAt, rounds, bytesPerSecond } of phases)
    session.field(
      `from ${startedAt}`,
      `${count(rounds)} rounds, ${rates.rate(bytesPerSecond.at(-1) ?? 0)} in the longest window`,
      begin,
    )
}
