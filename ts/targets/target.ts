/** What every VM that can be measured is. */

import type { DirtyRateMeasurement } from '../measurement/result.js'
import type { CalcDirtyRateArguments, DirtyRateInfo, Mode, QueryDirtyRateArguments } from '../qapi/types.js'
import type { Duration } from '../units.js'

export interface MeasureOptions {
  /** 1 ms to 1 h, default 1 s. The number of distinct pages grows slower than the window: another window is another answer. */
  window?: Duration
  /** Default `auto`: the exact source that the VM has. */
  mode?: Mode | 'auto'
  /** Ends the measurement at any instant. The promise rejects with `signal.reason`. */
  signal?: AbortSignal
}

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
  /** QEMU's calc-dirty-rate: starts the one job and resolves at once. */
  calcDirtyRate(args: CalcDirtyRateArguments): Promise<void>
  /** QEMU's query-dirty-rate. */
  queryDirtyRate(args?: QueryDirtyRateArguments): Promise<DirtyRateInfo>
  /** Idempotent. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}
