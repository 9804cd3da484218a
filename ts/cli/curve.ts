/** `dirtyrate curve TARGET`: distinct pages by window, from one run. */

import { parseChoice } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { MEASURE_ITS_PROCESS } from '../measurement/contents.js'
import type { DirtyRateCurve, DirtyRatePoint } from '../results/curve.js'
import type { Target } from '../targets/target.js'
import { type CurveRows, curveLines, curveRows } from './csv.js'
import {
  type CurveMeasuringOptions,
  endIfInterrupted,
  measureCurve,
  parseCurvePlan,
  saveCurve,
} from './curve-measuring.js'
import { printDetails } from './curve-text.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import { type Rates, ratesOf } from './rate-unit.js'
import type { Session } from './session.js'
import { Table } from './table.js'
import { refuseCsvAnd, withTarget } from './target.js'
import { showsBlocks } from './terminal.js'
import { bar, count, measuredSize, ms, widthOf } from './text.js'

export interface CurveCommandOptions extends CurveMeasuringOptions {
  unit?: string
  csv: boolean
  rows?: string
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
  const plan = parseCurvePlan(options, uri)
  refuseCsvAnd(session, options)
  const rows = parseRows(options)
  const rates = ratesOf(
    options.unit,
    session.options.json ? '--json' : options.csv ? '--csv' : undefined,
  )
  return withTarget(session, uri, plan, async target => {
    if (rows === 'regions') requireRegions(target)
    const curve = await measureCurve(session, target, plan, WINDOWS)
    if (options.csv) for (const line of curveLines(curve, rows)) session.write(line)
    else print(session, curve, rates)
    session.document(curve)
    await saveCurve(plan, curve)
    endIfInterrupted(session, curve)
    return curve.complete ? EXIT_OK : EXIT_FAILED
  })
}

/** What a line of --csv is. Throws ERR_ARGUMENT, also if there will be no such line. */
function parseRows({ rows, csv, repeat, for: time }: CurveCommandOptions): CurveRows {
  if (rows === undefined) return 'windows'
  const parsed = parseChoice(rows, '--rows', curveRows)
  if (!csv) throw argumentError('--rows: it is for --csv only', 'Give --csv too.')
  if (parsed === 'rounds' && repeat === undefined && time === undefined)
    throw argumentError('--rows: a single curve has no rounds', 'Give --repeat or --for too.')
  return parsed
}

/** Throws ERR_ARGUMENT before a curve is measured that will have no regions. */
function requireRegions({ readsMemory }: Target): void {
  if (readsMemory) return
  throw argumentError(
    '--rows: nobody says in which regions the dirty pages of this target are',
    MEASURE_ITS_PROCESS,
  )
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
