/** What the page knows: the events that it was told, in the form in which it shows them. */

import type { PackedEvent } from '../../ts/dashboard/records.js'
import type { DirtyRateCurve } from '../../ts/results/curve.js'
import type { Interval } from '../../ts/results/measurement.js'
import type { MigrationProgress } from '../../ts/results/migration.js'
import type { Mode } from '../../ts/results/mode.js'
import type { Warning } from '../../ts/results/warning.js'
import type { CellColumn } from './cells.js'
import type { Log } from './log.js'

/** A window, without its cells. */
export interface MeasuredWindow {
  readonly kind: 'measured'
  readonly at: number
  /**
   * Where its figure begins in a chart: at the end of the window before, or at its own beginning if
   * there was a gap.
   */
  readonly from: number
  readonly windowNs: number
  readonly requestedMs: number
  readonly mode: Mode
  readonly bytesPerSecond: number
  readonly interval: Interval
  readonly pages?: number
  readonly pageSize?: number
  readonly vcpus?: readonly { readonly id: number; readonly bytesPerSecond: number }[]
  readonly complete: boolean
  readonly warnings: readonly Warning[]
}

export type GapReason = 'failed' | 'paused' | 'migrating' | 'missed' | 'gone'

/** From `at` on there is no figure, until the next window. */
export interface Gap {
  readonly kind: 'gap'
  readonly at: number
  readonly why: GapReason
  readonly text: string
}

export type Moment = MeasuredWindow | Gap

/** Something that the list of messages says. */
export interface Notice {
  readonly at: number
  readonly text: string
  readonly hint?: string
  readonly code?: string
}

export interface Failure extends Notice {
  readonly retryMs?: number
}

/** One VM. */
export interface Vm {
  readonly target: string
  readonly name?: string
  readonly memoryBytes?: number
  readonly vcpus?: number
  readonly state?: string
  readonly software?: string
  /** Its target is not served any more. */
  readonly isGone: boolean
  readonly moments: Log<Moment>
  /** The newest window. */
  readonly last?: MeasuredWindow
  readonly cells: Log<CellColumn>
  readonly curve?: DirtyRateCurve
  readonly curveAt?: number
  readonly migration?: MigrationProgress
  readonly migrationAt?: number
  /** Present from a failure until the next figure. */
  readonly failure?: Failure
  readonly notices: Log<Notice>
}

export interface State {
  readonly vms: ReadonlyMap<string, Vm>
  /** The time of the newest event: ms since the Epoch. 0 before the first one. */
  readonly lastAt: number
  readonly events: number
}

/** The page was not told what happened between its newest event, at `at`, and the next one. */
export interface MissedEvent {
  readonly kind: 'missed'
  readonly at: number
}

/**
 * The server says what time it is, and which targets it serves, also those that could not be opened
 * yet. A time of 0 is none.
 */
export interface ServedEvent {
  readonly kind: 'served'
  readonly at: number
  readonly targets: readonly string[]
  /** Whether it serves no others, so that all others are gone. */
  readonly areAll: boolean
}

export type PageEvent = PackedEvent | MissedEvent | ServedEvent

export const emptyState: State = { vms: new Map(), lastAt: 0, events: 0 }
