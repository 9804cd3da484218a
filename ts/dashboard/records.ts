/** What goes over the connection of a live view: events, and what the server says beside them. */

import type { DashboardEvent, MeasuredEvent } from './events.js'
import type { PackedCells } from './packed-cells.js'

/** The form of the frames. A page of another form has to be loaded again. */
export const PROTOCOL = 1

/** An event whose cells are packed. */
export type PackedEvent =
  | Exclude<DashboardEvent, MeasuredEvent>
  | (Omit<MeasuredEvent, 'cells'> & { readonly cells?: PackedCells })

/** An event with its number. Numbers rise by one, over all targets of one run of a server. */
export interface EventRecord {
  readonly seq: number
  readonly event: PackedEvent
}

/** What the server says about the connection. */
export type Control = Hello | Gap | CaughtUp | Alive | CurveAnswer

/** The first record of each connection. */
export interface Hello {
  readonly kind: 'hello'
  readonly protocol: number
  /** The version of dirtyrate. */
  readonly version: string
  /** Names this run of the server. Numbers of another run mean nothing here. */
  readonly run: string
  /** `recording`: the server shows a file, and nothing new will come. */
  readonly source: 'live' | 'recording'
  /** The numbers of the oldest event that the server still has, and of the newest one. */
  readonly first: number
  readonly last: number
  /** The targets that are served now, also those that could not be opened yet. */
  readonly targets: readonly string[]
}

/**
 * Events are missing: some of those whose numbers are above `after`, and at most `upTo`. `gone`:
 * the server does not have them any more. `slow`: this reader was too slow, and gets the newest
 * event of each kind.
 */
export interface Gap {
  readonly kind: 'gap'
  readonly after: number
  readonly upTo: number
  readonly why: 'gone' | 'slow'
}

/** Everything up to `last`, which was the newest event when the connection began, was sent. */
export interface CaughtUp {
  readonly kind: 'caught-up'
  readonly last: number
}

/** Nothing happens, and the server is there. */
export interface Alive {
  readonly kind: 'alive'
  /** The clock of the server: ms since the Epoch. */
  readonly at: number
}

/** The answer to {@link MeasureCurve}. The curve itself comes as an event, or its failure does. */
export interface CurveAnswer {
  readonly kind: 'curve-answer'
  readonly target: string
  readonly accepted: boolean
  /** Why not, for people. */
  readonly reason?: string
}

export interface ControlRecord {
  readonly control: Control
}

export type LiveRecord = EventRecord | ControlRecord

/** What a page may ask for, as JSON in a text message: it can measure, and nothing else. */
export interface MeasureCurve {
  readonly kind: 'measureCurve'
  readonly target: string
}
