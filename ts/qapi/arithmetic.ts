/** QEMU's integer arithmetic of rates and times. */

import type { Figures } from '../results/measurement.js'
import type { DirtyRateInfo, DirtyRateVcpu, TimeUnit } from './types.js'

const NS_PER_MS = 1_000_000
const MS_PER_SECOND = 1000
const MIB = 2 ** 20

/**
 * `((pages * 1000) >> (20 - page_bits)) / duration_ms` in integers: MiB/s. A duration below 1 ms
 * counts as 1.
 */
export function dirtyRateMiB(pages: number, pageSize: number, durationMs: number): number {
  return Math.floor(
    Math.floor((pages * MS_PER_SECOND) / (MIB / pageSize)) / Math.max(durationMs, 1),
  )
}

/** {@link dirtyRateMiB} for a window in ns. */
export function rateOfPages(pages: number, pageSize: number, windowNs: number): number {
  return dirtyRateMiB(pages, pageSize, wholeMs(windowNs))
}

/**
 * QEMU's rate of a VM with dirty rings: the sum of the vCPUs' truncated rates. If several vCPUs
 * wrote the same pages, the sum would count these pages several times. Then the rate is `ofUnion`,
 * the truncated rate of all distinct pages.
 */
export function ringRate(vcpus: readonly DirtyRateVcpu[], ofUnion: number): number {
  const sum = vcpus.reduce((total, vcpu) => total + vcpu['dirty-rate'], 0)
  return Math.min(sum, ofUnion)
}

/**
 * QEMU's rate by page sampling, in integers: `hits * MiB * 1000 / (samples * duration_ms)`, each
 * block's size in whole MiB.
 */
export function samplingRate(
  hits: number,
  samples: number,
  blockBytes: readonly number[],
  windowNs: number,
): number {
  const mib = blockBytes.reduce((sum, bytes) => sum + Math.floor(bytes / MIB), 0)
  const divisor = samples * Math.max(wholeMs(windowNs), 1)
  return divisor === 0
    ? 0
    : Number((BigInt(hits) * BigInt(mib) * BigInt(MS_PER_SECOND)) / BigInt(divisor))
}

/** A time in ms in QEMU's unit, rounded down. */
export function inUnit(ms: number, unit: TimeUnit): number {
  return unit === 'second' ? Math.floor(ms / MS_PER_SECOND) : ms
}

/**
 * `info` with its time, which is in ms, in `unit`. The members are in the order in which QEMU
 * prints them.
 */
export function infoInUnit(info: DirtyRateInfo, unit: TimeUnit): DirtyRateInfo {
  return { ...info, 'calc-time-unit': unit, 'calc-time': inUnit(info['calc-time'], unit) }
}

/**
 * The time that QEMU reports for a finished measurement, in ms. In page sampling QEMU counts from
 * before the first look to the end of the wait, so the time is never shorter than the one that was
 * asked for. Our window is the window of the samples themselves, which is shorter if the second
 * look is faster than the first.
 */
export function infoMs({ mode, window }: Pick<Figures, 'mode' | 'window'>): number {
  const ms = wholeMs(window.ns)
  return mode === 'page-sampling' ? Math.max(ms, Math.floor(window.requestedMs)) : ms
}

function wholeMs(ns: number): number {
  return Math.floor(ns / NS_PER_MS)
}
