/** Reads a recording in the page: JSON lines, one event each. */

import { checkEvent } from '../../ts/dashboard/checks.js'
import { packEvent } from '../../ts/dashboard/frames.js'
import type { PageEvent } from '../state/state.js'

export async function readRecording(file: Blob): Promise<PageEvent[]> {
  const events: PageEvent[] = []
  for (const line of (await file.text()).split('\n')) {
    if (line.trim() === '') continue
    const value = JSON.parse(line)
    const { cells, ...rest } = value
    const event = checkEvent(rest)
    events.push(cells === undefined ? event : packEvent(value))
  }
  return events
}
