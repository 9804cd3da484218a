/** How far a live migration of a VM is. */

/** A migration of the VM that runs now. Each figure is absent where this QEMU does not give it. */
export interface MigrationProgress {
  /** QEMU's `MigrationStatus`. */
  readonly status: string
  /** Since its start. */
  readonly elapsedMs?: number
  /** Still to be sent. */
  readonly remainingBytes?: number
  /** Sent so far. */
  readonly transferredBytes?: number
  /** The passes over the memory: the syncs of the dirty log. */
  readonly passes?: number
  /** As of the last sync, which is seconds old. */
  readonly dirtyPagesPerSecond?: number
  readonly pageSize?: number
  /** By QEMU's own estimate. */
  readonly expectedDowntimeMs?: number
}
