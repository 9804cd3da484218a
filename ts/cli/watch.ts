/** `dirtyrate watch TARGET`: one measurement after the other. */

import { parseCountText } from '../ground/arguments.js'
import { parseWindow } from '../measurement/windows.js'
import type { DirtyRateMeasurement } from '../qapi/info.js'
import { csvHeader, csvRecord, WATCH_COLUMNS } from './csv.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import { during } from './progress.js'
import { type Rates, ratesOf } from './rate-unit.js'
import type { Session } from './session.js'
import {
  type ModeOptions,
  parseModeOptions,
  printHmp,
  refuseCsvAnd,
  refuseHmpAndJson,
  withTarget,
} from './target.js'
import { count, ms } from './text.js'
import { parseWait, type WaitOptions, waitBefore } from './wait.js'

export interface WatchCommandOptions extends ModeOptions, WaitOptions {
  every: string
  unit?: string
  csv: boolean
  count?: string
  hmp: boolean
}

export async function runWatch(
  session: Session,
  uri: string,
  options: WatchCommandOptions,
): Promise<number> {
  session.streamDocuments()
  const every = parseWindow(options.every, '--every')
  const rounds =
    options.count === undefined
      ? Number.POSITIVE_INFINITY
      : parseCountText(options.count, '--count', 1)
  const mode = parseModeOptions(options)
  const open = { mode: mode.mode, force: options.force }
  const wait = parseWait(options)
  refuseHmpAndJson(session, options.hmp)
  refuseCsvAnd(session, options)
  const { csv, hmp } = options
  const other = session.options.json ? '--json' : csv ? '--csv' : hmp ? '--hmp' : undefined
  const rates = ratesOf(options.unit, other)
  const { signal } = session
  return withTarget(session, uri, open, async target => {
    await waitBefore(session, target, wait)
    if (csv) session.write(csvHeader(WATCH_COLUMNS))
    let seen = 0
    let complete = true
    const watch = target.watchDirtyRate({ ...mode, every, signal })[Symbol.asyncIterator]()
    try {
      while (seen < rounds) {
        const next = (): ReturnType<typeof watch.next> => watch.next()
        // For later windows the terminal already shows the line of the window before.
        const { done, value: measurement } = await (seen === 0
          ? during(session, `measuring every ${options.every}`, every, next)
          : next())
        if (done) break
        if (hmp) printHmp(session, measurement)
        else if (csv) session.write(csvRecord(WATCH_COLUMNS, measurement))
        else session.update(columns => line(measurement, rates, columns))
        session.document(measurement)
        complete &&= measurement.complete
        // If the reader is slow, windows become longer, and no results pile up here.
        if (++seen < rounds) await session.delivered()
      }
    } finally {
      await watch.return?.()
    }
    return complete ? EXIT_OK : EXIT_FAILED
  })
}

/** A figure of a line. */
interface Part {
  text: string
  /** The padded form for a wide terminal, in which the figures of all lines are aligned. */
  aligned?: string
}

/**
 * A line of figures, none of which is cut. If not all of them fit, the least important ones are
 * left out, but never the rate.
 */
function line(
  measurement: DirtyRateMeasurement,
  rates: Rates,
  columns = Number.POSITIVE_INFINITY,
): string {
  const { bytesPerSecond, interval, pages, window, startedAt, complete, warnings } = measurement
  const rate = `${complete ? '' : '>= '}${rates.rate(bytesPerSecond)}`
  const figures = {
    time: { text: startedAt.slice(11, 23) },
    rate: { text: rate, aligned: rate.padStart(14) },
    ...(pages === undefined
      ? {}
      : {
          pages: { text: `${count(pages)} pages`, aligned: `${count(pages).padStart(11)} pages` },
        }),
    window: { text: `in ${ms(window.ns)}` },
    ...(interval.confidence === 1 && complete
      ? {}
      : { interval: { text: rates.interval(interval) } }),
    ...(warnings.length === 0
      ? {}
      : { warnings: { text: warnings.map(({ code }) => code).join('  ') } }),
  } satisfies Record<string, Part>
  const parts: [string, Part][] = Object.entries(figures)
  const whole = parts.map(([, { text, aligned = text }]) => aligned).join('  ')
  if (whole.length <= columns) return whole
  const kept = new Set(['rate'])
  const texts = (): string[] => parts.filter(([name]) => kept.has(name)).map(([, { text }]) => text)
  for (const name of ['pages', 'time', 'window', 'interval', 'warnings']) {
    kept.add(name)
    if (texts().join('  ').length > columns) kept.delete(name)
  }
  return texts().join('  ')
}
