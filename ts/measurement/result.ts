/** The result of a measurement: one type for every mode, which is also the JSON that the command prints. */

import type { NativeTruth } from '../native.js'
import { measuredInfo } from '../qapi/arithmetic.js'
import type { DirtyRateInfo, Mode } from '../qapi/types.js'
import type { BitmapRound } from './dirty-bitmap.js'

/** Bounds of a figure. `confidence` 1: exact. `high` null: no upper bound is known. */
export interface Interval {
  low: number
  high: number | null
  confidence: number
}

/** What a measurement took, in ns. */
export interface Cost {
  /** Turning the log on and protecting every page: the steps 1 and 2. */
  startNs: number
  /** The fetch at the window's end, with its re-protection: step 4. */
  syncNs: number
  /** Re-protecting alone, in both. */
  clearNs: number
  /** Emptying dirty rings; 0 in other modes. */
  harvestNs: number
  /** Counting: step 5. */
  reapNs: number
  /** Inside the kernel, in all. */
  ioctlNs: number
  /** The longest single call that held the kernel's lock on this VM's memory: a vCPU that faults waits up to this. */
  longestLockNs: number
}

/** How fast a VM dirtied its memory in one window. */
export interface DirtyRateMeasurement {
  schemaVersion: 1
  /** The target's URI. */
  target: string
  mode: Mode
  /** ISO 8601. */
  startedAt: string
  /** As asked for, in ms; from the first CLEAR to the last GET, in ns; and the spread between the blocks' own windows, in ns. */
  window: { requestedMs: number; ns: number; skewNs: number }
  /** Sum over blocks of dirty bytes by the block's own window. */
  bytesPerSecond: number
  /** Of `bytesPerSecond`. */
  interval: Interval
  /** Distinct pages; absent where unknowable. */
  pages?: number
  /** Bytes. */
  pageSize: number
  blocks?: { name: string; guestAddress: number; bytes: number; pages: number; windowNs: number }[]
  vcpus?: { id: number; pages: number; entries: number; duplicates: number; bytesPerSecond: number }[]
  sampling?: { samples: number; hits: number; zeroPages: number; samplesPerGiB: number }
  ring?: { entries: number; duplicates: number; lost: number }
  cost?: Cost
  /** False: the figure is a lower bound, and `warnings` say why. */
  complete: boolean
  warnings: { code: string; message: string }[]
  /** The same result as QEMU's query-dirty-rate would give it. */
  qapi: DirtyRateInfo
}

/** A measurement of a VM that runs one of the built-in workloads has the guest's own count beside it. */
export interface VirtualMachineMeasurement extends DirtyRateMeasurement {
  /** Pages that the guest wrote in this window: `low` surely, `high` possibly, `pages` by its counters as they were read. */
  truth?: NativeTruth
}

/** A window that dirty-bitmap measured, as a result. */
export function bitmapMeasurement(
  round: BitmapRound,
  context: { target: string; startedAt: Date; requestedMs: number; pageSize: number },
): VirtualMachineMeasurement {
  const { reap, cost } = round
  const { target, startedAt, requestedMs, pageSize } = context
  return {
    schemaVersion: 1,
    target,
    mode: 'dirty-bitmap',
    startedAt: startedAt.toISOString(),
    window: { requestedMs, ns: reap.windowNs, skewNs: reap.skewNs },
    bytesPerSecond: reap.bytesPerSecond,
    interval: { low: reap.bytesPerSecond, high: reap.bytesPerSecond, confidence: 1 },
    pages: reap.pages,
    pageSize,
    blocks: reap.blocks.map(({ name, guestAddress, bytes, pages, windowNs }) => ({
      name,
      guestAddress,
      bytes,
      pages,
      windowNs,
    })),
    cost,
    complete: true,
    warnings: [],
    qapi: measuredInfo({
      mode: 'dirty-bitmap',
      startedAt,
      pages: reap.pages,
      pageSize,
      windowNs: reap.windowNs,
    }),
    ...(reap.truth ? { truth: reap.truth } : {}),
  }
}
