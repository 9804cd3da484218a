/** What a VM's software says about a live migration of the VM. */

/**
 * The live migration of a VM that is under way, or the last one. Each figure is absent where this
 * QEMU does not give it: after a failed or a cancelled migration it gives none.
 */
export interface MigrationProgress {
  /** QEMU's `MigrationStatus`, such as `active`, `completed` or `failed`. */
  readonly status: string
  /** Whether it is under way. Nothing can be measured then. */
  readonly underWay: boolean
  /** The time since it began, or how long it took. */
  readonly elapsedMs?: number
  /** What is left to be sent. */
  readonly remainingBytes?: number
  /** What was sent so far. */
  readonly transferredBytes?: number
  /** The passes over the memory: the syncs of the dirty log. */
  readonly passes?: number
  /** The dirty rate at the last sync of the dirty log, which can be seconds old. */
  readonly dirtyPagesPerSecond?: number
  /** The bytes of a page. */
  readonly pageSize?: number
  /** QEMU's own estimate of how long the guest will stand still. */
  readonly expectedDowntimeMs?: number
  /** How long the guest stood still, once the migration is completed. */
  readonly downtimeMs?: number
  /** Why it failed, in QEMU's words. */
  readonly error?: string
}
