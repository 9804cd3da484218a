/** Reads a recording in the page. */

import { parseLine } from '../../ts/dashboard/recording.js'
import { argumentError } from '../../ts/ground/errors.js'
import type { PageEvent } from '../state/state.js'

export interface Recording {
  readonly events: readonly PageEvent[]
  /** Lines that are no events, such as the last one if the server was killed within it. */
  readonly unreadable: number
}

/** Throws ERR_ARGUMENT for a file that is no recording. */
export async function readRecording(file: Blob): Promise<Recording> {
  const events: PageEvent[] = []
  let unreadable = 0
  let lastAt = 0
  const [first = '', ...lines] = (await file.text()).split('\n')
  if (parseLine(first).kind !== 'header') throw argumentError('it is no recording of dirtyrate')
  for (const line of lines) {
    if (line.trim() === '') continue
    try {
      const parsed = parseLine(line)
      // A further header stands where events are missing.
      if (parsed.kind === 'header') events.push({ kind: 'missed', at: lastAt })
      else {
        events.push(parsed.event)
        lastAt = Math.max(lastAt, parsed.event.at)
      }
    } catch {
      unreadable++
    }
  }
  return { events, unreadable }
}
