/** Reads a recording, event by event. */

import { createReadStream } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { linesOf } from '../../dashboard/lines.js'
import { MOST_LINE_BYTES, parseLine, RECORDING_BEGINS } from '../../dashboard/recording.js'
import type { PackedEvent } from '../../dashboard/records.js'
import { argumentError, isError } from '../../ground/errors.js'
import { systemReason } from '../failure.js'

/** What reading a recording has found beside its events. */
export interface ReadRecording {
  readonly events: number
  /** Lines that are no events, such as the last one if the server was killed within it. */
  readonly unreadable: number
}

/** Whether the file says that it is a recording. Rejects with the system's error. */
export async function isRecording(file: string): Promise<boolean> {
  // What is read from a pipe is gone from it, and opening one waits for who writes into it.
  if (!(await stat(file)).isFile()) return false
  const handle = await open(file, 'r')
  try {
    const begins = Buffer.alloc(RECORDING_BEGINS.length)
    const { bytesRead } = await handle.read(begins, 0, begins.length, 0)
    return begins.subarray(0, bytesRead).toString('latin1') === RECORDING_BEGINS
  } finally {
    await handle.close()
  }
}

/**
 * Calls `take` with each event. A line that cannot be read is passed over. Rejects with
 * ERR_ARGUMENT, which calls the file `name`, if it cannot be read, or is no recording, and with the
 * reason of `signal`.
 */
export async function readRecording(
  file: string,
  name: string,
  take: (event: PackedEvent) => void,
  signal?: AbortSignal,
): Promise<ReadRecording> {
  const read = { events: 0, unreadable: 0 }
  let isFirst = true
  try {
    if (!(await stat(file)).isFile()) throw argumentError('it is no regular file', MAKE_ONE)
    for await (const line of linesOf(createReadStream(file, { signal }), MOST_LINE_BYTES)) {
      if (isFirst) requireHeader(line)
      isFirst = false
      const event = eventIn(line)
      if (event === 'unreadable') read.unreadable++
      else if (event !== 'none') {
        read.events++
        take(event)
      }
    }
  } catch (error) {
    signal?.throwIfAborted()
    throw argumentErrorAbout(error, file, name)
  }
  if (isFirst) throw argumentError(`${name}: '${file}' is empty`, MAKE_ONE)
  return read
}

const MAKE_ONE = 'Give a file that dirtyrate serve --record FILE has made.'

/** Throws ERR_ARGUMENT. */
function requireHeader(line: string | undefined): void {
  if (line?.startsWith(RECORDING_BEGINS) !== true)
    throw argumentError('it is no recording of dirtyrate', MAKE_ONE)
  parseLine(line)
}

function eventIn(line: string | undefined): PackedEvent | 'none' | 'unreadable' {
  if (line === undefined) return 'unreadable'
  if (line.trim() === '') return 'none'
  try {
    const parsed = parseLine(line)
    return parsed.kind === 'event' ? parsed.event : 'none'
  } catch {
    return 'unreadable'
  }
}

function argumentErrorAbout(error: unknown, file: string, name: string): unknown {
  if (!isError(error)) return error
  const { message, hint } = error as Error & { hint?: string }
  const reason = 'errno' in error ? systemReason(error as NodeJS.ErrnoException) : message
  return argumentError(`${name}: '${file}': ${reason}`, hint ?? 'Give a file that can be read.')
}
