/**
 * What a dashboard is told, as it happens. A live view, the history of the server, and a recording
 * are lists of these events. The page reads them too, so nothing here needs Node.
 */

import type { DirtyCells } from '../results/cells.js'
import type { DirtyRateCurve } from '../results/curve.js'
import type { Interval, VcpuMeasurement } from '../results/measurement.js'
import type { MigrationProgress } from '../results/migration.js'
import type { Mode } from '../results/mode.js'
import type { Warning } from '../results/warning.js'

/** One event. */
export type DashboardEvent =
  | TargetEvent
  | MeasuredEvent
  | CurveEvent
  | FailedEvent
  | MigratingEvent
  | GoneEvent

interface OfTarget {
  /** When it happened: ms since the Epoch. */
  readonly at: number
  /** The URI of the target. */
  readonly target: string
}

/** A target is open. Sent again when one of its facts has changed. */
export interface TargetEvent extends OfTarget {
  readonly kind: 'target'
  /** The name of the VM, if it has one beside its URI. */
  readonly name?: string
  readonly memoryBytes: number
  readonly vcpus?: number
  /** In the words of `describe()`: `running`, `paused`. */
  readonly state: string
  /** What runs the VM: `QEMU 10.0.2, with KVM`. */
  readonly software?: string
}

/** A window was measured. It ended at `at`. */
export interface MeasuredEvent extends OfTarget {
  readonly kind: 'measured'
  readonly mode: Mode
  /** The length that was asked for, and the length that it had. */
  readonly requestedMs: number
  readonly windowNs: number
  /** The part of the window in which the guest was paused, which rates leave out. */
  readonly pausedNs?: number
  readonly bytesPerSecond: number
  /** The bounds of `bytesPerSecond`. */
  readonly interval: Interval
  readonly pages?: number
  readonly pageSize?: number
  readonly vcpus?: readonly Pick<VcpuMeasurement, 'id' | 'bytesPerSecond'>[]
  /** False if pages are missing, so that the rate is a lower bound. */
  readonly complete: boolean
  readonly warnings: readonly Warning[]
  /** Absent if the target cannot tell where its dirty pages are. */
  readonly cells?: DirtyCells
}

/** A curve was measured. Its longest window ended at `at`. */
export interface CurveEvent extends OfTarget {
  readonly kind: 'curve'
  readonly curve: DirtyRateCurve
}

/** A measurement failed. */
export interface FailedEvent extends OfTarget {
  readonly kind: 'failed'
  readonly code: string
  readonly message: string
  readonly hint?: string
  /** When the target is tried again. Absent if its rounds go on as before. */
  readonly retryMs?: number
}

/** The VM migrates: it is followed, and not measured. */
export interface MigratingEvent extends OfTarget {
  readonly kind: 'migrating'
  readonly migration: MigrationProgress
}

/** The target is not served any more: its VM has ended, or the configuration has changed. */
export interface GoneEvent extends OfTarget {
  readonly kind: 'gone'
}
