/** What a caller may choose about a measurement, whatever is measured. */

import type { OptionNames } from '../ground/arguments.js'
import type { Duration } from '../ground/units.js'
import type { Mode } from '../qapi/types.js'
import type { SampleOptions } from '../targets/vm/page-sampling.js'

/** The options that every way of measuring has. */
export interface CommonOptions extends SampleOptions {
  /** Default `auto`: the exact mode that the VM has. */
  mode?: Mode | 'auto' | undefined
  /** Ends the measurement at any instant. The promise then rejects, or the loop throws, with `signal.reason`. */
  signal?: AbortSignal | undefined
}

export interface MeasureOptions extends CommonOptions {
  /** 1 ms to 1 h, default 1 s. Distinct pages grow more slowly than the window, so another window is another answer. */
  window?: Duration | undefined
}

export interface CurveOptions extends CommonOptions {
  /** In any order, 1 ms to 1 h each. The run takes as long as the longest window. */
  windows: readonly Duration[]
}

export interface WatchOptions extends CommonOptions {
  /** The time from one round's end to the next one's: 1 ms to 1 h, default 1 s. */
  every?: Duration | undefined
}

const COMMON: OptionNames<CommonOptions> = {
  mode: true,
  samplePages: true,
  confidence: true,
  sampling: true,
  signal: true,
}
/** The names of all options of each way of measuring. */
export const MEASURE: OptionNames<MeasureOptions> = { ...COMMON, window: true }
export const CURVE: OptionNames<CurveOptions> = { ...COMMON, windows: true }
export const WATCH: OptionNames<WatchOptions> = { ...COMMON, every: true }
