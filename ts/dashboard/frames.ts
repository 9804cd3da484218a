/**
 * Records as bytes, for the WebSocket. A frame is any number of records, one after the other. A
 * record is the bytes of its head and of its tail in two u32, the head as JSON, and the tail, which
 * has the cells of a measurement. `docs/dashboard.md` describes it.
 */

import { argumentError } from '../ground/errors.js'
import { checkControl, checkEvent } from './checks.js'
import type { DashboardEvent } from './events.js'
import { checkedCells, joined, packCells, unpackCells } from './packed-cells.js'
import type { ControlRecord, EventRecord, LiveRecord, PackedEvent } from './records.js'

const LENGTHS = 8
const EMPTY = new Uint8Array(0)
const encoder = new TextEncoder()

export function encodeRecord(record: LiveRecord): Uint8Array {
  const { head, tail } = isEvent(record) ? divided(record) : { head: record, tail: EMPTY }
  const text = encoder.encode(JSON.stringify(head))
  const lengths = new Uint8Array(LENGTHS)
  const view = new DataView(lengths.buffer)
  view.setUint32(0, text.length, true)
  view.setUint32(4, tail.length, true)
  return joined([lengths, text, tail])
}

function divided({ seq, event }: EventRecord): { head: object; tail: Uint8Array } {
  if (event.kind !== 'measured' || event.cells === undefined)
    return { head: { seq, event }, tail: EMPTY }
  const { data, ...cells } = event.cells
  return { head: { seq, event: { ...event, cells } }, tail: data }
}

/**
 * The records of a frame. Their cells are views into its bytes. Throws ERR_ARGUMENT for what is not
 * a frame.
 */
export function decodeFrame(bytes: Uint8Array): LiveRecord[] {
  const records: LiveRecord[] = []
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  while (at < bytes.length) {
    if (bytes.length - at < LENGTHS) throw truncated()
    const tailAt = at + LENGTHS + view.getUint32(at, true)
    const end = tailAt + view.getUint32(at + 4, true)
    if (end > bytes.length) throw truncated()
    const head = parsed(bytes.subarray(at + LENGTHS, tailAt))
    records.push(recordOf(head, bytes.subarray(tailAt, end)))
    at = end
  }
  return records
}

function recordOf(head: unknown, tail: Uint8Array): LiveRecord {
  const { seq, event, control } = Object(head) as Partial<EventRecord & ControlRecord>
  if (control !== undefined) {
    if (tail.length > 0) throw argumentError('a record has a tail that nothing describes')
    return { control: checkControl(control) }
  }
  if (!Number.isSafeInteger(seq) || Number(seq) < 1)
    throw argumentError('a record has no sequence number')
  return { seq: Number(seq), event: withCells(event, tail) }
}

/** The event of a head, with its cells. Throws ERR_ARGUMENT for garbage. */
export function withCells(head: unknown, tail: Uint8Array): PackedEvent {
  const { cells, ...rest } = Object(head) as Record<string, unknown>
  const event = checkEvent(rest)
  if (cells !== undefined && event.kind === 'measured')
    return { ...event, cells: checkedCells(cells, tail) }
  if (cells !== undefined || tail.length > 0)
    throw argumentError('a record has a tail that nothing describes')
  return event
}

/** The event as it is sent and kept. */
export function packEvent(event: DashboardEvent): PackedEvent {
  if (event.kind !== 'measured') return event
  const { cells, ...rest } = event
  return cells === undefined ? rest : { ...rest, cells: packCells(cells) }
}

/** The event with unpacked cells. */
export function unpackEvent(event: PackedEvent): DashboardEvent {
  if (event.kind !== 'measured') return event
  const { cells, ...rest } = event
  return cells === undefined ? rest : { ...rest, cells: unpackCells(cells) }
}

export const isEvent = (record: LiveRecord): record is EventRecord => 'event' in record

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw argumentError(`the head of a record is not JSON: ${(error as Error).message}`)
  }
}

const truncated = (): Error => argumentError('a frame ends within a record')
