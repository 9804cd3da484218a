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
  /** MiB/s, only when measured. */
  'dirty-rate'?: number
  status: DirtyRateStatus
  /** Seconds since the Epoch. */
  'start-time': number
  /** In `calc-time-unit`, rounded down: as asked for while measuring, as it really was when measured. */
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
  /** 50 to 60,000 ms, in `calc-time-unit`. */
  'calc-time': number
  /** Default second. */
  'calc-time-unit'?: TimeUnit | undefined
  /** Per GiB, 128 to 16,384, mode page-sampling only. Default 512. */
  'sample-pages'?: number | undefined
  /** Default page-sampling, as in QEMU. */
  mode?: DirtyRateMeasureMode | undefined
}

/** The arguments of `query-dirty-rate`. */
export interface QueryDirtyRateArguments {
  /** Of the answer's `calc-time`. Default second. */
  'calc-time-unit'?: TimeUnit | undefined
}
