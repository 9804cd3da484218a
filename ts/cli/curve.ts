/** `dirtyrate curve TARGET`: distinct pages by window, from one run. */

import { parseCountText } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { parseSize } from '../ground/units.js'
import type { CurveOptions } from '../measurement/options.js'
import { MOST_ROUNDS, parseRepetition } from '../measurement/repetition.js'
import { parseWindows } from '../measurement/windows.js'
import type { DirtyRateCurve, DirtyRatePoint } from '../results/curve.js'
import type { Target } from '../targets/target.js'
import { csvHeader, csvRecord, curveColumns } from './csv.js'
import { printDetails } from './curve-text.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import { documentText } from './json.js'
import { during } from './progress.js'
import { type Rates, ratesOf } from './rate-unit.js'
import type { Session } from './session.js'
import { Table } from './table.js'
import { type ModeOptions, parseModeOptions, refuseCsvAnd, withTarget } from './target.js'
import { showsBlocks } from './terminal.js'
import { bar, count, measuredSize, ms, widthOf } from './text.js'
import { parseWait, type WaitOptions, waitBefore } from './wait.js'
import { writeNamedFile } from './whole-file.js'

export interface CurveCommandOptions extends ModeOptions, WaitOptions {
  windows?: string
  granularity?: string
  repeat?: string
  for?: string
  save?: string
  unit?: string
  csv: boolean
}

const TITLES = ['window', 'pages', 'dirty', 'rate', 'interval'] as const
const ESSENTIAL: readonly string[] = ['window', 'pages', 'rate'] satisfies (typeof TITLES)[number][]
const WINDOWS = ['50ms', '100ms', '200ms', '500ms', '1s'] as const
const WIDEST_CHART = 40
/** A bar of fewer characters shows nothing. */
const NARROWEST_CHART = 5

export async function runCurve(
  session: Session,
  uri: string,
  options: CurveCommandOptions,
): Promise<number> {
  const given = options.windows === undefined ? undefined : parseList(options.windows)
  const mode = parseModeOptions(options, [uri])
  const open = { mode, force: options.force }
  const wait = parseWait(options)
  refuseCsvAnd(session, options)
  const rates = ratesOf(
    options.unit,
    session.options.json ? '--json' : options.csv ? '--csv' : undefined,
  )
  const more = parseMore(options)
  const { signal } = session
  return withTarget(session, uri, open, async target => {
    await waitBefore(session, target, wait)
    const windows = given ?? parseList(defaultWindows(target).join(','))
    const longest = windows.at(-1) ?? 0
    const repetition = parseRepetition(more, longest, OPTION_NAMES)
    const curve = await during(
      session,
      `measuring for windows of ${windows.map(window => `${window} ms`).join(', ')}`,
      repetition?.expectedMs ?? longest,
      () => target.measureDirtyCurve({ ...mode, ...more, windows, signal }),
    )
    if (options.csv) printCsv(session, curve)
    else print(session, curve, rates)
    session.document(curve)
    if (options.save !== undefined)
      await writeNamedFile('--save', options.save, Buffer.from(documentText(curve, false)))
    return curve.complete ? EXIT_OK : EXIT_FAILED
  })
}

/** The names of options in messages. */
const OPTION_NAMES = { repeat: '--repeat', for: '--for' } as const

/** The options of the API that are given as they are; their values are checked by the API. */
function parseMore({
  granularity,
  repeat,
  for: time,
  save,
}: CurveCommandOptions): Pick<CurveOptions, 'granularities' | 'repeat' | 'for'> {
  if (save === '') throw argumentError('--save: it is empty', 'Give the name of a file.')
  const sizes = granularity?.split(',').filter(size => size.trim() !== '')
  return {
    ...(sizes === undefined
      ? {}
      : { granularities: sizes.map(size => parseSize(size, '--granularity')) }),
    ...(repeat === undefined ? {} : { repeat: parseCountText(repeat, '--repeat', 1, MOST_ROUNDS) }),
    ...(time === undefined ? {} : { for: time }),
  }
}

function parseList(text: string): number[] {
  const windows = text.split(',').filter(window => window.trim() !== '')
  return parseWindows(windows, '--windows', '50ms,100ms,1s')
}

/** The windows without --windows. A kind of target that cannot measure them has its own. */
function defaultWindows(target: Target): readonly string[] {
  return (target as { curveWindows?: readonly string[] }).curveWindows ?? WINDOWS
}

function printCsv(session: Session, curve: DirtyRateCurve): void {
  const columns = curveColumns(curve)
  session.write(csvHeader(columns))
  for (const [at, point] of curve.points.entries())
    session.write(csvRecord(columns, { curve, point, at }))
}

function print(session: Session, curve: DirtyRateCurve, rates: Rates): void {
  const { points, mode, target, warnings } = curve
  session.headline(mode, target)
  const rows = points.map(point => cells(point, rates))
  // A column that no point has a value for is left out.
  const titles = TITLES.filter(title => rows.some(row => row[title] !== undefined))
  const columns = titles.map(title => ({
    title,
    width: Math.max(...rows.map(row => row[title]?.length ?? 0)),
    ...(ESSENTIAL.includes(title) ? { essential: true as const } : {}),
  }))
  const table = new Table(columns, text => session.bold(text))
  for (const row of rows) {
    const cells = titles.map(title => row[title] ?? '-')
    for (const line of table.row(cells, session.columns)) session.print(line)
  }
  if (process.stdout.isTTY === true) chart(session, points)
  printDetails(session, curve, rates)
  for (const { code, message } of warnings) session.field('warning', `${code}: ${message}`)
  session.explain()
  session.explain(
    warnings.some(({ code }) => code === 'SEPARATE_WINDOWS')
      ? 'Distinct pages: a page counts once in a window, however often it was written.'
      : 'Distinct pages: a page counts once, however often it was written. All windows have one opening.',
  )
}

type Row = Readonly<Partial<Record<(typeof TITLES)[number], string>>>

function cells(
  { windowNs, pages, dirtyBytes, bytesPerSecond, interval }: DirtyRatePoint,
  rates: Rates,
): Row {
  return {
    window: ms(windowNs),
    ...(pages === undefined ? {} : { pages: count(Math.round(pages)) }),
    ...(dirtyBytes === undefined ? {} : { dirty: measuredSize(dirtyBytes) }),
    rate: rates.rate(bytesPerSecond),
    interval: rates.interval(interval),
  }
}

/** Dirty bytes by window, a bar each. A curve without them has no chart. */
function chart(session: Session, all: readonly DirtyRatePoint[]): void {
  const points = all.flatMap(({ windowNs, dirtyBytes }) =>
    dirtyBytes === undefined ? [] : [{ windowNs, dirtyBytes }],
  )
  if (points.length < all.length) return
  const most = Math.max(...points.map(({ dirtyBytes }) => dirtyBytes), 1)
  const labels = points.map(({ windowNs }) => ms(windowNs))
  const label = Math.max(...labels.map(widthOf))
  const longestSize = Math.max(...points.map(({ dirtyBytes }) => measuredSize(dirtyBytes).length))
  const width = Math.min(WIDEST_CHART, (session.columns ?? WIDEST_CHART) - label - longestSize - 3)
  if (width < NARROWEST_CHART) return
  session.print()
  points.forEach(({ dirtyBytes }, at) => {
    session.print(
      `${labels[at]?.padStart(label)}  ${bar(dirtyBytes / most, width, showsBlocks())} ${measuredSize(dirtyBytes)}`,
    )
  })
}
