/** QEMU's types of qapi/migration.json, key for key. */

import type { DirtyRateMeasureMode } from './measure-mode.js'

/** QEMU's `DirtyRateStatus`. */
export type DirtyRateStatus = 'unstarted' | 'measuring' | 'measured'
/** QEMU's `TimeUnit`. */
export type TimeUnit = 'second' | 'millisecond'

/** QEMU's `DirtyRateVcpu`: MiB/s of one vCPU. */
export interface DirtyRateVcpu {
  id: number
  'dirty-rate': number
}

/** QEMU's `DirtyRateInfo`. */
export interface DirtyRateInfo {
  /** The rate in MiB/s. Present only when measured. */
  'dirty-rate'?: number
  status: DirtyRateStatus
  /** When the measurement began, in seconds since the Epoch. */
  'start-time': number
  /**
   * The length of the window in `calc-time-unit`, rounded down: while measuring the length that was
   * asked for, and then the real one.
   */
  'calc-time': number
  'calc-time-unit': TimeUnit
  /** Per GiB. */
  'sample-pages': number
  mode: DirtyRateMeasureMode
  /** Mode dirty-ring only. */
  'vcpu-dirty-rate'?: DirtyRateVcpu[]
}

/** The arguments of `calc-dirty-rate`. */
export interface CalcDirtyRateArguments {
  /** The length of the window in `calc-time-unit`: 50 to 60,000 ms. */
  'calc-time': number
  /** The unit of `calc-time`. Default `second`. */
  'calc-time-unit'?: TimeUnit | undefined
  /** Samples per GiB: 128 to 16,384, default 512. In mode page-sampling only. */
  'sample-pages'?: number | undefined
  /** Default page-sampling, as in QEMU. */
  mode?: DirtyRateMeasureMode | undefined
}

/** The arguments of `query-dirty-rate`. */
export interface QueryDirtyRateArguments {
  /** The unit of the answer's `calc-time`. Default `second`. */
  'calc-time-unit'?: TimeUnit | undefined
}
