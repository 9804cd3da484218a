/** `dirtyrate watch TARGET…`: one measurement after the other. */

import { parseCountText } from '../ground/arguments.js'
import { parseWindow } from '../measurement/windows.js'
import type { DirtyRateMeasurement } from '../qapi/info.js'
import { cellsWanted } from './cells.js'
import { csvHeader, csvRecord, WATCH_COLUMNS } from './csv.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import { activityDuring } from './guest-activity.js'
import { during } from './progress.js'
import { isPoint, type Rates, ratesOf } from './rate-unit.js'
import type { Session } from './session.js'
import {
  checkChoice,
  isSingle,
  refuseSingleOutputs,
  type TargetChoice,
  withEach,
} from './several-targets.js'
import {
  type ModeOptions,
  type Opening,
  parseModeOptions,
  printHmp,
  refuseCsvAnd,
  refuseHmpAndJson,
  withTarget,
} from './target.js'
import { count, ms, padTo, visible, widthOf } from './text.js'
import { parseWait, type Wait, type WaitOptions, waitBefore } from './wait.js'

export interface WatchCommandOptions extends ModeOptions, WaitOptions {
  every: string
  cells?: string
  unit?: string
  csv: boolean
  count?: string
  hmp: boolean
  all: boolean
}

export async function runWatch(
  session: Session,
  uris: readonly string[],
  options: WatchCommandOptions,
): Promise<number> {
  session.streamDocuments()
  const choice: TargetChoice = { uris, all: options.all }
  checkChoice(choice)
  refuseSingleOutputs(choice, options)
  const every = parseWindow(options.every, '--every')
  const rounds =
    options.count === undefined
      ? Number.POSITIVE_INFINITY
      : parseCountText(options.count, '--count', 1)
  const mode = parseModeOptions(options, uris)
  const open = { mode, force: options.force }
  const wait = parseWait(options)
  refuseHmpAndJson(session, options.hmp)
  refuseCsvAnd(session, options)
  const { csv, hmp } = options
  const other = session.options.json ? '--json' : csv ? '--csv' : hmp ? '--hmp' : undefined
  const rates = ratesOf(options.unit, other)
  const { signal } = session
  const [uri = ''] = uris
  const cells = cellsWanted(session, options.cells, false)
  if (!isSingle(choice)) {
    const plan = { ...open, cells, every, rounds, wait, rates, everyText: options.every }
    return watchEach(session, choice, plan)
  }
  return withTarget(session, uri, open, async target => {
    await waitBefore(session, target, wait)
    if (csv) session.write(csvHeader(WATCH_COLUMNS))
    let seen = 0
    let complete = true
    const watch = target
      .watchDirtyRate({ ...mode, ...cells, every, signal })
      [Symbol.asyncIterator]()
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
        else session.update(columns => windowLine(measurement, rates, columns))
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

/** How several targets are watched. */
interface Each extends Opening {
  cells: { cells?: number }
  every: number
  everyText: string
  rounds: number
  wait: Wait
  rates: Rates
}

/** What was seen of one target. */
interface Seen {
  windows: number
  sum: number
  most: number
}

/** Watches several targets, with a line for each window of each of them. */
function watchEach(
  session: Session,
  choice: TargetChoice,
  { mode, force, cells, every, everyText, rounds, wait, rates }: Each,
): Promise<number> {
  const { signal } = session
  const seen = new Map<string, Seen>()
  return withEach(
    session,
    choice,
    { mode, force, atOnce: true },
    async ({ target, label }, all) => {
      await waitBefore(session, target, wait)
      const of: Seen = { windows: 0, sum: 0, most: 0 }
      seen.set(label, of)
      const widest = Math.max(...all.map(one => widthOf(visible(one.label))))
      const name = padTo(visible(label), widest)
      const watch = target
        .watchDirtyRate({ ...mode, ...cells, every, signal })
        [Symbol.asyncIterator]()
      let complete = true
      try {
        while (of.windows < rounds) {
          const next = (): ReturnType<typeof watch.next> => watch.next()
          const { done, value } = await (of.windows === 0
            ? during(session, `measuring every ${everyText}`, every, next)
            : next())
          if (done) break
          session.print(`${name}  ${windowLine(value, rates)}`)
          session.document(value)
          of.windows += 1
          of.sum += value.bytesPerSecond
          of.most = Math.max(of.most, value.bytesPerSecond)
          complete &&= value.complete
          if (of.windows < rounds) await session.delivered()
        }
      } finally {
        await watch.return?.()
      }
      return { complete }
    },
    failed => {
      session.explain()
      for (const [label, { windows, sum, most }] of seen) {
        if (windows === 0) continue
        session.explain(
          `${visible(label)}: ${count(windows)} window${windows === 1 ? '' : 's'}, ${rates.rate(sum / windows)} on average, ${rates.rate(most)} at most.`,
        )
      }
      if (failed > 0) session.explain(`${count(failed)} failed.`)
    },
  )
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
export function windowLine(
  measurement: DirtyRateMeasurement,
  rates: Rates,
  columns: number = Number.POSITIVE_INFINITY,
): string {
  const { bytesPerSecond, interval, pages, window, startedAt, complete, warnings } = measurement
  const rate = `${complete ? '' : '>= '}${rates.rate(bytesPerSecond)}`
  const { guest } = measurement.cost ?? {}
  const activity = guest === undefined ? '' : activityDuring(guest)
  const figures = {
    time: { text: startedAt.slice(11, 23) },
    rate: { text: rate, aligned: rate.padStart(14) },
    ...(pages === undefined
      ? {}
      : {
          pages: { text: `${count(pages)} pages`, aligned: `${count(pages).padStart(11)} pages` },
        }),
    window: { text: `in ${ms(window.ns)}` },
    ...(isPoint(interval) && complete ? {} : { interval: { text: rates.interval(interval) } }),
    ...(warnings.length === 0
      ? {}
      : { warnings: { text: warnings.map(({ code }) => code).join('  ') } }),
    ...(activity === '' ? {} : { guest: { text: activity } }),
  } satisfies Record<string, Part>
  const parts: [string, Part][] = Object.entries(figures)
  const whole = parts.map(([, { text, aligned = text }]) => aligned).join('  ')
  if (whole.length <= columns) return whole
  const kept = new Set(['rate'])
  const texts = (): string[] => parts.filter(([name]) => kept.has(name)).map(([, { text }]) => text)
  for (const name of ['pages', 'time', 'window', 'interval', 'warnings', 'guest']) {
    kept.add(name)
    if (texts().join('  ').length > columns) kept.delete(name)
  }
  return texts().join('  ')
}
