/** What a caller may choose about a measurement, whatever is measured. */

import type { OptionNames } from '../ground/arguments.js'
import type { Duration } from '../ground/units.js'
import type { WantedMode } from './mode.js'
import type { SampleOptions } from './sampling.js'

/** The options that every way of measuring has. */
export interface CommonOptions extends SampleOptions {
  /** Default `auto`: the first of the target's `modes`, which for our own VM is its exact one. */
  mode?: WantedMode | undefined
  /** Ends the measurement at any instant. The promise then rejects, or the loop throws, with `signal.reason`. */
  signal?: AbortSignal | undefined
}

/** Options whose mode is known to the compiler, which then knows what the result has. */
export interface InWantedMode<W extends WantedMode> {
  mode?: W | undefined
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
