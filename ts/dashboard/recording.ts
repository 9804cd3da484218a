/**
 * The form of a recording: lines of JSON. The first one is a header, and each other one an event,
 * whose cells are packed, in base64. `docs/dashboard.md` describes it.
 */

import { argumentError } from '../ground/errors.js'
import { withCells } from './frames.js'
import type { PackedEvent } from './records.js'

/** The form of the lines. A reader refuses a form that it does not know. */
export const RECORDING_VERSION = 1
/** The first line of every recording begins with this. */
export const RECORDING_BEGINS = '{"format":"dirtyrate-recording"'

/** No event is longer: the cells of the largest memory take less. */
export const MOST_LINE_BYTES: number = 64 * 2 ** 20
/** A server has no more targets. What a recording has of further ones is not shown. */
export const MOST_TARGETS = 10_000

/**
 * The first line. Another one follows where a server has gone on with the file, or where events are
 * missing because they could not be written.
 */
export interface RecordingHeader {
  readonly format: 'dirtyrate-recording'
  readonly version: number
  /** The version of dirtyrate. */
  readonly dirtyrate: string
  /** ISO 8601. */
  readonly startedAt: string
}

export type RecordingLine =
  | { readonly kind: 'header'; readonly header: RecordingHeader }
  | { readonly kind: 'event'; readonly event: PackedEvent }

/** The line of a header, without its end. */
export function headerLine(dirtyrate: string, startedAt: Date): string {
  const header: RecordingHeader = {
    format: 'dirtyrate-recording',
    version: RECORDING_VERSION,
    dirtyrate,
    startedAt: startedAt.toISOString(),
  }
  return JSON.stringify(header)
}

/** The line of an event, without its end. */
export function eventLine(event: PackedEvent): string {
  if (event.kind !== 'measured' || event.cells === undefined) return JSON.stringify(event)
  const { data, ...cells } = event.cells
  return JSON.stringify({ ...event, cells: { ...cells, data: toBase64(data) } })
}

/** Throws ERR_ARGUMENT for a line that is none, or of a form that is not known. */
export function parseLine(line: string): RecordingLine {
  const value = parsed(line)
  const { format, version, dirtyrate, startedAt } = value as Partial<RecordingHeader>
  if (format === undefined) return { kind: 'event', event: eventOf(value) }
  if (format !== 'dirtyrate-recording') throw argumentError('it is no recording of dirtyrate')
  if (version !== RECORDING_VERSION) {
    throw argumentError(
      `the recording has version ${version} of the format, and this dirtyrate reads version ${RECORDING_VERSION}`,
      'Use the version of dirtyrate that made it, or a newer one.',
    )
  }
  const isHeader = typeof dirtyrate === 'string' && typeof startedAt === 'string'
  if (!isHeader) throw argumentError('the header of the recording is garbled')
  return { kind: 'header', header: { format, version, dirtyrate, startedAt } }
}

function eventOf(value: object): PackedEvent {
  const { cells } = value as { cells?: unknown }
  if (cells === undefined) return withCells(value, new Uint8Array(0))
  const { data, ...head } = Object(cells) as { data?: unknown }
  return withCells({ ...value, cells: head }, fromBase64(data))
}

function parsed(line: string): object {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw argumentError('a line of the recording is not JSON')
  }
  return Object(value) as object
}

/** The functions of browsers take a text with one character for each byte, of a limited length. */
const BYTES_AT_ONCE = 0x8000

function toBase64(bytes: Uint8Array): string {
  const parts: string[] = []
  for (let at = 0; at < bytes.length; at += BYTES_AT_ONCE)
    parts.push(String.fromCharCode(...bytes.subarray(at, at + BYTES_AT_ONCE)))
  return btoa(parts.join(''))
}

function fromBase64(text: unknown): Uint8Array {
  try {
    return Uint8Array.from(atob(text as string), character => character.charCodeAt(0))
  } catch {
    throw argumentError('the cells of a measurement are garbled')
  }
}
