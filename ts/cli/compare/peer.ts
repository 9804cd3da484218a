/** A VMM that runs the guest of a comparison, and measures how fast it dirties its memory. */

import type { Interval } from '../../results/measurement.js'
import type { Mode } from '../../results/mode.js'
import type { Bounds, Reading } from './truth.js'

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

/** One measurement of a peer, and what is known about its window. */
export interface Measured {
  readonly figure: Figure
  /** The shortest and the longest that the window can have been, in ns. */
  readonly lasted: Bounds
  /** The distinct pages that the guest wrote, if the peer read its counters at both ends. */
  readonly counted?: Bounds
  /** Readings of the guest's counters that are surely within the window, in their order. */
  readonly within: readonly Reading[]
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
  /** Measures once. `look` reads the guest's counters. */
  measure(mode: Mode, windowMs: number, look: () => Promise<Reading>): Promise<Measured>
  close(): Promise<void>
}

/** A tool and its version. */
export interface Tool {
  readonly name: 'dirtyrate' | 'QEMU'
  readonly version: string
}
