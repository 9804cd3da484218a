/** What every VM that can be measured is. */

import type { DirtyRateCurve } from '../measurement/curve.js'
import type { CurveOptions, MeasureOptions, WatchOptions } from '../measurement/options.js'
import type { CalcDirtyRateArguments, DirtyRateInfo, Mode, QueryDirtyRateArguments } from '../qapi/types.js'
import type { DirtyRateMeasurement } from '../results/measurement.js'

declare global {
  /** As in newer TypeScript libraries and newer types of Node, so that these declarations need neither. */
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol
  }
}

/** What a VM has, and how it can be measured. */
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
  /** What the VM has, and the modes that it can be measured in. */
  describe(): Promise<TargetDescription>
  /** One measurement, over one window. */
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
  /** {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}
