/** `dirtyrate curve TARGET`: distinct pages by window, from one run. */

import type { DirtyRateCurve, DirtyRatePoint } from '../measurement/curve.js'
import { parseWindows } from '../measurement/windows.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import type { Session } from './session.js'
import { type ModeOptions, parseModeOptions, withTarget } from './target.js'
import { bar, count, mibPerSecond, ms, rateInterval, row, size } from './text.js'

export interface CurveCommandOptions extends ModeOptions {
  windows: string
}

const COLUMNS = ['window', 'pages', 'dirty', 'rate', 'interval']
const WIDTHS = [12, 12, 11, 15, 28]
const CHART_WIDTH = 40

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
  session.print(`${session.bold(mode)}  ${target}`)
  session.print(session.bold(row(COLUMNS, WIDTHS)))
  for (const point of points) session.print(row(cells(point), WIDTHS))
  if (process.stdout.isTTY === true) chart(session, points)
  for (const { code, message } of warnings) session.print(`warning  ${code}: ${message}`)
  session.explain()
  session.explain(
    'Distinct pages: a page counts once, however often it was written. All windows have one opening.',
  )
}

function cells({ windowNs, pages, bytes, bytesPerSecond, interval }: DirtyRatePoint): string[] {
  return [ms(windowNs), count(pages), size(bytes), mibPerSecond(bytesPerSecond), rateInterval(interval)]
}

/** Dirty bytes by window, a bar each. */
function chart(session: Session, points: readonly DirtyRatePoint[]): void {
  const most = Math.max(...points.map(({ bytes }) => bytes), 1)
  session.print()
  for (const { windowNs, bytes } of points) {
    session.print(
      `${ms(windowNs).padStart(WIDTHS[0] ?? 0)}  ${bar(bytes / most, CHART_WIDTH)} ${size(bytes)}`,
    )
  }
}
