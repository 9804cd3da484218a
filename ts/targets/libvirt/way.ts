/** How a measurement of a domain is started, and how its state is asked for. */

import type { Signal } from '../../ground/abort.js'
import type { Method } from '../../measurement/source.js'
import type { DirtyRateInfo } from '../../qapi/types.js'

/** One of the ways in which libvirt lets QEMU measure. */
export interface Way {
  /** Throws ERR_ARGUMENT for what this way cannot measure. */
  requirePossible(method: Method, windowMs: number): void
  /** Starts the job, and resolves at once. */
  start(method: Method, windowMs: number, signal: Signal): Promise<void>
  /**
   * The state of the job, in QEMU's form and with its times in ms; undefined if the domain is busy
   * and does not say.
   */
  look(signal: Signal): Promise<DirtyRateInfo | undefined>
}
