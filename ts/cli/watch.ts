/** `dirtyrate watch TARGET`: one measurement after the other. */

import { parseCountText } from '../ground/arguments.js'
import { parseWindow } from '../measurement/windows.js'
import type { DirtyRateMeasurement } from '../results/measurement.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import type { Session } from './session.js'
import { type ModeOptions, parseModeOptions, printHmp, refuseHmpAndJson, withTarget } from './target.js'
import { count, mibPerSecond, ms, rateInterval } from './text.js'

export interface WatchCommandOptions extends ModeOptions {
  every: string
  count?: string
  hmp: boolean
}

export async function runWatch(session: Session, uri: string, options: WatchCommandOptions): Promise<number> {
  session.streamDocuments()
  const every = parseWindow(options.every, '--every')
  const rounds =
    options.count === undefined ? Number.POSITIVE_INFINITY : parseCountText(options.count, '--count', 1)
  const mode = parseModeOptions(options)
  refuseHmpAndJson(session, options.hmp)
  const { signal } = session
  return withTarget(session, uri, mode.mode, async target => {
    session.progress(`measuring every ${options.every}`)
    let seen = 0
    let complete = true
    for await (const measurement of target.watchDirtyRate({ ...mode, every, signal })) {
      if (options.hmp) printHmp(session, measurement)
      else session.update(columns => line(measurement, columns))
      session.document(measurement)
      complete &&= measurement.complete
      if (++seen >= rounds) break
      // A reader that is slow has longer windows; nothing piles up here.
      await session.delivered()
    }
    return complete ? EXIT_OK : EXIT_FAILED
  })
}

/** A figure of a line. */
interface Part {
  text: string
  /** As it stands where there is room, so that the figures of all lines are below each other. */
  aligned?: string
}

/** A line of whole figures: where not all of them fit, those that matter most, and the rate always. */
function line(measurement: DirtyRateMeasurement, columns = Number.POSITIVE_INFINITY): string {
  const { bytesPerSecond, interval, pages, window, startedAt, complete, warnings } = measurement
  const rate = `${complete ? '' : '>= '}${mibPerSecond(bytesPerSecond)}`
  const figures = {
    time: { text: startedAt.slice(11, 23) },
    rate: { text: rate, aligned: rate.padStart(14) },
    ...(pages === undefined
      ? {}
      : { pages: { text: `${count(pages)} pages`, aligned: `${count(pages).padStart(11)} pages` } }),
    window: { text: `in ${ms(window.ns)}` },
    ...(interval.confidence === 1 && complete ? {} : { interval: { text: rateInterval(interval) } }),
    ...(warnings.length === 0 ? {} : { warnings: { text: warnings.map(({ code }) => code).join('  ') } }),
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
