/** What every VM that can be measured is. */

import type { OptionNames } from '../arguments.js'
import type { DirtyRateCurve } from '../measurement/curve.js'
import type { SampleRequest } from '../measurement/page-sampling.js'
import type { DirtyRateMeasurement } from '../measurement/result.js'
import type { CalcDirtyRateArguments, DirtyRateInfo, Mode, QueryDirtyRateArguments } from '../qapi/types.js'
import type { Duration } from '../units.js'

declare global {
  /** As in newer TypeScript libraries and newer types of Node, so that these declarations need neither. */
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol
  }
}

/** What every way of measuring has. */
export interface CommonOptions extends SampleOptions {
  /** Default `auto`: the exact source that the VM has. */
  mode?: Mode | 'auto' | undefined
  /** Ends the measurement at any instant. The promise rejects, the loop throws, with `signal.reason`. */
  signal?: AbortSignal | undefined
}

/** What is for page sampling; an exact mode refuses what it would have to ignore. */
export interface SampleOptions extends SampleRequest {
  /** Pages looked at per GiB: 128 to 16384, default 512. Mode page-sampling only. */
  samplePages?: number | undefined
  /** Of the interval: above 0 and below 1, default 0.95. An exact figure's is 1 whatever this is. */
  confidence?: number | undefined
}

export interface MeasureOptions extends CommonOptions {
  /** 1 ms to 1 h, default 1 s. The number of distinct pages grows slower than the window: another window is another answer. */
  window?: Duration | undefined
}

export interface CurveOptions extends CommonOptions {
  /** In any order, 1 ms to 1 h each; the run is as long as the longest. */
  windows: readonly Duration[]
}

export interface WatchOptions extends CommonOptions {
  /** 1 ms to 1 h, default 1 s. */
  every?: Duration | undefined
}

const COMMON: OptionNames<CommonOptions> = {
  mode: true,
  samplePages: true,
  confidence: true,
  sampling: true,
  signal: true,
}
/** All options of each way of measuring. */
export const MEASURE: OptionNames<MeasureOptions> = { ...COMMON, window: true }
export const CURVE: OptionNames<CurveOptions> = { ...COMMON, windows: true }
export const WATCH: OptionNames<WatchOptions> = { ...COMMON, every: true }

export interface TargetDescription {
  uri: string
  memoryBytes: number
  vcpus: number
  state: string
  /** The modes that it can be measured in, and what each costs the guest. */
  modes: { mode: Mode; exact: boolean; costToGuest: string }[]
}

/** A VM that can be measured. Every method returns a Promise. */
export interface Target {
  readonly uri: string
  describe(): Promise<TargetDescription>
  measureDirtyRate(options?: MeasureOptions): Promise<DirtyRateMeasurement>
  /** Distinct pages for every window, from one run. */
  measureDirtyCurve(options: CurveOptions): Promise<DirtyRateCurve>
  /** One measurement after the other, for as long as the loop asks. */
  watchDirtyRate(options?: WatchOptions): AsyncIterable<DirtyRateMeasurement>
  /** QEMU's calc-dirty-rate: starts the one job and resolves at once. */
  calcDirtyRate(args: CalcDirtyRateArguments): Promise<void>
  /** QEMU's query-dirty-rate. */
  queryDirtyRate(args?: QueryDirtyRateArguments): Promise<DirtyRateInfo>
  /** Idempotent. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}
