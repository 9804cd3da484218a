/** A VMM that runs the guest of a comparison, and measures how fast it dirties its memory. */

import type { Interval } from '../../results/measurement.js'
import type { Mode } from '../../results/mode.js'

/** What one measurement of a peer says. */
export interface Figure {
  readonly bytesPerSecond: number
  readonly interval: Interval
  /** Distinct pages. Absent if the peer does not say it. */
  readonly pages?: number
  /** How long the window was. */
  readonly windowNs: number
  /** False: the figure is a lower bound. */
  readonly complete: boolean
}

/** A running guest, and the tool that measures it. */
export interface Peer {
  readonly tool: Tool
  /** The process that runs the guest. */
  readonly pid: number
  /** The threads of that process that run vCPUs. */
  readonly vcpuThreads: readonly number[]
  /** The first 16 bytes of the page of guest memory at `address`. */
  mailbox(address: number): Promise<Uint8Array>
  measure(mode: Mode, windowMs: number): Promise<Figure>
  close(): Promise<void>
}

/** A tool and its version. */
export interface Tool {
  readonly name: 'dirtyrate' | 'QEMU'
  readonly version: string
}
