/** `dirtyrate curve TARGET`: distinct pages by window, from one run. */

import type { DirtyRateCurve, DirtyRatePoint } from '../measurement/curve.js'
import { parseWindows } from '../measurement/windows.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import type { Session } from './session.js'
import { Table } from './table.js'
import { type ModeOptions, parseModeOptions, withTarget } from './target.js'
import { showsBlocks } from './terminal.js'
import { bar, count, measuredSize, mibPerSecond, ms, rateInterval, widthOf } from './text.js'

export interface CurveCommandOptions extends ModeOptions {
  windows: string
}

const TITLES = ['window', 'pages', 'dirty', 'rate', 'interval'] as const
const ESSENTIAL: readonly string[] = ['window', 'pages', 'rate'] satisfies (typeof TITLES)[number][]
const WIDEST_CHART = 40
/** A bar of fewer characters shows nothing. */
const NARROWEST_CHART = 5

export async function runCurve(session: Session, uri: string, options: CurveCommandOptions): Promise<number> {
  const windows = parseWindows(
    options.windows.split(',').filter(text => text.trim() !== ''),
    '--windows',
    '50ms,100ms,1s',
  )
  const mode = parseModeOptions(options)
  const { signal } = session
  return withTarget(session, uri, mode.mode, async target => {
    session.progress(`measuring for windows of ${options.windows}`)
    const curve = await target.measureDirtyCurve({ ...mode, windows, signal })
    print(session, curve)
    session.document(curve)
    return curve.complete ? EXIT_OK : EXIT_FAILED
  })
}

function print(session: Session, curve: DirtyRateCurve): void {
  const { points, mode, target, warnings } = curve
  session.headline(mode, target)
  const rows = points.map(cells)
  const columns = TITLES.map((title, at) => ({
    title,
    width: Math.max(...rows.map(row => row[at]?.length ?? 0)),
    ...(ESSENTIAL.includes(title) ? { essential: true as const } : {}),
  }))
  const table = new Table(columns, text => session.bold(text))
  for (const row of rows) for (const line of table.row(row, session.columns)) session.print(line)
  if (process.stdout.isTTY === true) chart(session, points)
  for (const { code, message } of warnings) session.field('warning', `${code}: ${message}`)
  session.explain()
  session.explain(
    'Distinct pages: a page counts once, however often it was written. All windows have one opening.',
  )
}

function cells({ windowNs, pages, bytes, bytesPerSecond, interval }: DirtyRatePoint): string[] {
  return [
    ms(windowNs),
    count(pages),
    measuredSize(bytes),
    mibPerSecond(bytesPerSecond),
    rateInterval(interval),
  ]
}

/** Dirty bytes by window, a bar each. */
function chart(session: Session, points: readonly DirtyRatePoint[]): void {
  const most = Math.max(...points.map(({ bytes }) => bytes), 1)
  const labels = points.map(({ windowNs }) => ms(windowNs))
  const label = Math.max(...labels.map(widthOf))
  const longestSize = Math.max(...points.map(({ bytes }) => measuredSize(bytes).length))
  const width = Math.min(WIDEST_CHART, (session.columns ?? WIDEST_CHART) - label - longestSize - 3)
  if (width < NARROWEST_CHART) return
  session.print()
  points.forEach(({ bytes }, at) => {
    session.print(
      `${labels[at]?.padStart(label)}  ${bar(bytes / most, width, showsBlocks())} ${measuredSize(bytes)}`,
    )
  })
}
