/** QEMU's integer arithmetic of rates and times. */

import type { DirtyRateInfo, Mode, TimeUnit } from './types.js'

const NS_PER_MS = 1_000_000
const MS_PER_SECOND = 1000
const MIB = 2 ** 20

/** `((pages * 1000) >> (20 - page_bits)) / duration_ms` in integers: MiB/s. A duration below 1 ms counts as 1. */
export function dirtyRateMiB(pages: number, pageSize: number, durationMs: number): number {
  return Math.floor(Math.floor((pages * MS_PER_SECOND) / (MIB / pageSize)) / Math.max(durationMs, 1))
}

/** A time in ms in QEMU's unit, rounded down. */
export function inUnit(ms: number, unit: TimeUnit): number {
  return unit === 'second' ? Math.floor(ms / MS_PER_SECOND) : ms
}

/** A finished measurement as `query-dirty-rate` gives it, its time in milliseconds. */
export function measuredInfo(round: {
  mode: Mode
  startedAt: Date
  pages: number
  pageSize: number
  windowNs: number
}): DirtyRateInfo {
  const durationMs = Math.floor(round.windowNs / NS_PER_MS)
  return {
    'dirty-rate': dirtyRateMiB(round.pages, round.pageSize, durationMs),
    status: 'measured',
    'start-time': Math.floor(round.startedAt.getTime() / MS_PER_SECOND),
    'calc-time': durationMs,
    'calc-time-unit': 'millisecond',
    'sample-pages': 0,
    mode: round.mode,
  }
}
