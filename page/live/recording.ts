/** Reads a recording in the page, line by line, so that its size does not matter. */

import { linesOf } from '../../ts/dashboard/lines.js'
import { MOST_LINE_BYTES, MOST_TARGETS, parseLine } from '../../ts/dashboard/recording.js'
import { argumentError } from '../../ts/ground/errors.js'
import type { PageEvent } from '../state/state.js'

/** What reading has found beside the events. */
export interface ReadRecording {
  /** Lines that are no events, such as the last one if the server was killed within it. */
  readonly unreadable: number
  /** Events that are not shown, because the recording has too many targets. */
  readonly leftOut: number
}

/** So many events are given at once. */
const BATCH = 1000

/** Gives the events to `take`, some at a time. Throws ERR_ARGUMENT for what is no recording. */
export async function readRecording(
  file: Blob,
  take: (events: readonly PageEvent[]) => void,
): Promise<ReadRecording> {
  let batch: PageEvent[] = []
  const targets = new Set<string>()
  let [unreadable, leftOut, lastAt] = [0, 0, 0]
  let isFirst = true
  for await (const line of linesOf(chunksOf(file), MOST_LINE_BYTES)) {
    if (isFirst && (line === undefined || parseLine(line).kind !== 'header')) throw NO_RECORDING()
    if (!isFirst && line?.trim() !== '') {
      try {
        if (line === undefined) throw NO_RECORDING()
        const parsed = parseLine(line)
        // A further header stands where events are missing.
        if (parsed.kind === 'header') batch.push({ kind: 'missed', at: lastAt })
        else if (targets.size < MOST_TARGETS || targets.has(parsed.event.target)) {
          targets.add(parsed.event.target)
          batch.push(parsed.event)
          lastAt = Math.max(lastAt, parsed.event.at)
        } else leftOut++
      } catch {
        unreadable++
      }
    }
    isFirst = false
    if (batch.length >= BATCH) {
      take(batch)
      batch = []
    }
  }
  if (isFirst) throw argumentError('it is empty')
  take(batch)
  return { unreadable, leftOut }
}

const NO_RECORDING = (): Error => argumentError('it is no recording of dirtyrate')

/** Not every browser can iterate over a stream. */
async function* chunksOf(file: Blob): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = file.stream().getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    yield value
  }
}
