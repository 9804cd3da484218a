/** Prints the events of the log, and QEMU's trace events, on standard error. */

import { DROPPED, type LogEvent, type LogLevel, logLevels, setLog } from '../ground/log.js'
import { formatTrace } from '../qapi/trace.js'
import type { Output } from './output.js'
import { visible } from './text.js'

/** What is printed. */
interface Wanted {
  readonly logLevel: LogLevel
  /** Whether QEMU's trace events are printed. */
  readonly trace: boolean
}

/** Takes the lines away that are rewritten, and shows them again. */
interface Room {
  make(): void
  fill(): void
}

/**
 * Begins to print events. The returned function delivers those that are still waiting, and ends
 * it.
 */
export function printEvents({ logLevel, trace }: Wanted, err: Output, room: Room): () => void {
  if (logLevel === 'off' && !trace) return () => {}
  setLog(trace ? 'trace' : logLevel, event => {
    const traced = trace ? formatTrace(event) : undefined
    const logged =
      logLevels.indexOf(event.level) <= logLevels.indexOf(logLevel) ||
      (trace && event.message === DROPPED)
    if (traced === undefined && !logged) return
    room.make()
    err.writeOptional(`${visible(traced ?? logLine(event))}\n`)
    room.fill()
  })
  return () => setLog('off', null)
}

function logLine({ level, target, message, fields }: LogEvent): string {
  const values = Object.entries(fields).map(([key, value]) => ` ${key}=${value}`)
  return `${level} ${target}: ${message}${values.join('')}`
}
