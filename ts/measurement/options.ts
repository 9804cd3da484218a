/** The options of measurements, for every kind of target. */

import type { OptionNames } from '../ground/arguments.js'
import type { Duration, Size } from '../ground/units.js'
import type { WantedMode } from './mode.js'
import type { SampleOptions } from './sampling.js'

/**
 * The options that every way of measuring has. If the mode `W` is known to the compiler, so are the
 * members of the result.
 */
export interface CommonOptions<W extends WantedMode = WantedMode> extends SampleOptions {
  /** Default `auto`: the first of the target's `modes`, which for our own VM is its exact one. */
  mode?: W | undefined
  /**
   * Ends the measurement at any instant. The promise then rejects, or the loop throws, with
   * `signal.reason`.
   */
  signal?: AbortSignal | undefined
}

export interface MeasureOptions<W extends WantedMode = WantedMode> extends CommonOptions<W> {
  /**
   * The length of the window: 1 ms to 1 h, default 1 s. The number of distinct pages grows more
   * slowly than the window, so another window gives another rate.
   */
  window?: Duration | undefined
  /** {@link WatchOptions.cells} */
  cells?: Size | undefined
}

export interface CurveOptions<W extends WantedMode = WantedMode> extends CommonOptions<W> {
  /**
   * At most 1000 windows, in any order, 1 ms to 1 h each. The run takes as long as the longest
   * window.
   */
  windows: readonly Duration[]
  /**
   * Counts dirty granules of these sizes too, and their extents: at most 16 multiples of the page
   * size, such as `['64KiB', '2MiB']`. Only exact modes can do that, of targets whose guest
   * addresses are known.
   */
  granularities?: readonly Size[] | undefined
  /** How many curves to measure, one after the other: 1 to 10000. The points are their means. */
  repeat?: number | undefined
  /** The same for so long: at least the longest window, at most 7 days. */
  for?: Duration | undefined
  /**
   * If `signal` is aborted after one or more of several curves, or a later one fails, because the
   * guest is paused or has ended for example, then the whole rounds until then become the result,
   * with the warning INTERRUPTED, which says why, and the promise resolves. For `repeat` or `for`
   * only.
   */
  keepRounds?: boolean | undefined
  /**
   * Also measures, after the last window, how well the pages compress and how many hold nothing but
   * zeros, from at most 8192 pages. It takes some milliseconds. Only targets whose memory this
   * package reads can do that: `readsMemory`.
   */
  compressibility?: boolean | undefined
}

export interface WatchOptions<W extends WantedMode = WantedMode> extends CommonOptions<W> {
  /** The time from one round's end to the next one's: 1 ms to 1 h, default 1 s. */
  every?: Duration | undefined
  /**
   * Also counts the dirty pages of each cell of this size, such as `'2MiB'`: a multiple of the page
   * size, of which the memory has at most 65,536. Cells are counted from the start of each RAM
   * block. Only targets that know where their dirty pages are can do that: our own VMs, and
   * processes.
   */
  cells?: Size | undefined
}

const COMMON: OptionNames<CommonOptions> = {
  mode: true,
  samplePages: true,
  confidence: true,
  sampling: true,
  signal: true,
}
/** The names of all options of each way of measuring. */
export const MEASURE: OptionNames<MeasureOptions> = { ...COMMON, window: true, cells: true }
export const CURVE: OptionNames<CurveOptions> = {
  ...COMMON,
  windows: true,
  granularities: true,
  repeat: true,
  for: true,
  keepRounds: true,
  compressibility: true,
}
export const WATCH: OptionNames<WatchOptions> = { ...COMMON, every: true, cells: true }
