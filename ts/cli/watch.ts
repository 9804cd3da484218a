/** `dirtyrate watch TARGET`: one measurement after the other. */

import type { DirtyRateMeasurement } from '../measurement/result.js'
import { parseWindow } from '../measurement/windows.js'
import { parseCountText } from '../units.js'
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
      else session.update(line(measurement))
      session.document(measurement)
      complete &&= measurement.complete
      if (++seen >= rounds) break
    }
    return complete ? EXIT_OK : EXIT_FAILED
  })
}

function line(measurement: DirtyRateMeasurement): string {
  const { bytesPerSecond, interval, pages, window, startedAt, complete, warnings } = measurement
  const cells = [
    startedAt.slice(11, 23),
    mibPerSecond(bytesPerSecond).padStart(14),
    ...(pages === undefined ? [] : [`${count(pages).padStart(11)} pages`]),
    `in ${ms(window.ns)}`,
    ...(interval.confidence === 1 && complete ? [] : [rateInterval(interval)]),
    ...warnings.map(({ code }) => code),
  ]
  return cells.join('  ')
}
