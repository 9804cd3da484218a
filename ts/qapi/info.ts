/** The answer of QEMU's query-dirty-rate, computed from a result. */

import type { Figures, Frame } from '../results/measurement.js'
import { infoMs, rateOfPages, ringRate, samplingRate } from './arithmetic.js'
import { measureModeOf } from './measure-mode.js'
import type { DirtyRateInfo, DirtyRateVcpu } from './types.js'

/** A result with the answer that QEMU's query-dirty-rate would give. */
export type WithInfo<T> = T & { readonly qapi: DirtyRateInfo }

/** How fast a VM dirtied its memory in one window: a union by `mode`. */
export type DirtyRateMeasurement = WithInfo<Frame & Figures>

/**
 * What QEMU would say of this measurement, with its time in milliseconds and its members in the
 * order in which QEMU prints them. The pages of an exact mode must be known.
 */
export function dirtyRateInfo(result: Figures & Pick<Frame, 'startedAt'>): DirtyRateInfo {
  const vcpus = result.mode === 'dirty-ring' ? vcpuRates(result) : undefined
  return {
    ...(vcpus === undefined ? {} : { 'vcpu-dirty-rate': vcpus }),
    status: 'measured',
    'sample-pages': result.mode === 'page-sampling' ? result.sampling.samplesPerGiB : 0,
    'dirty-rate': rate(result, vcpus),
    mode: measureModeOf(result.mode),
    'calc-time-unit': 'millisecond',
    'start-time': Math.floor(Date.parse(result.startedAt) / 1000),
    'calc-time': infoMs(result),
  }
}

function rate(figures: Figures, vcpus: readonly DirtyRateVcpu[] = []): number {
  const { pages = 0, window, blocks = [] } = figures
  switch (figures.mode) {
    case 'page-sampling': {
      const { hits = 0, samples = 0 } = figures.sampling
      return samplingRate(
        hits,
        samples,
        blocks.map(({ bytes }) => bytes),
        window.ns,
      )
    }
    case 'dirty-ring':
      return ringRate(vcpus, rateOf(figures, pages))
    default:
      return rateOf(figures, pages)
  }
}

function vcpuRates(figures: Figures & { mode: 'dirty-ring' }): DirtyRateVcpu[] {
  return figures.vcpus.map(({ id, pages = 0 }) => ({ 'dirty-rate': rateOf(figures, pages), id }))
}

function rateOf({ window, pageSize = 1 }: Figures, pages: number): number {
  return rateOfPages(pages, pageSize, window.ns - (window.pausedNs ?? 0))
}
