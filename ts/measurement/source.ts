/**
 * The interface that each kind of target gives to the meter. The meter knows nothing else about
 * what it measures.
 */

import type { Signal } from '../ground/abort.js'
import type { DirtyRateError } from '../ground/errors.js'
import type { DirtyRateInfo } from '../qapi/types.js'
import type { CurveMemory, Increment } from '../results/curve.js'
import type { Figures } from '../results/measurement.js'
import type { Mode } from '../results/mode.js'
import type { GranulesOfWindow, RegionOfWindow } from './regions.js'
import type { Samples, SamplingOptions } from './sampling.js'

/** A mode that a target can be measured in. */
export interface ModeAbility {
  readonly mode: Mode
  /** Whether the figures of this mode are exact. */
  readonly exact: boolean
  /** What a measurement in this mode costs the guest, as a part of a sentence. */
  readonly costToGuest: string
  /** Why this target refuses the mode, as a part of a sentence; absent if it does not. */
  readonly refused?: string
}

/** How to measure. For page sampling this includes the options of sampling. */
export type Method = (
  | { readonly mode: 'page-sampling'; readonly samples: Samples }
  | { readonly mode: 'dirty-bitmap' | 'dirty-ring' | 'soft-dirty' }
) & {
  /** The size of the cells whose pages the figures have, in bytes; not in a curve. */
  readonly cellBytes?: number
}

/** The memory of a target, as far as its cells depend on it. */
export interface MemoryLayout {
  readonly pageSize: number
  /** The sizes of the RAM blocks. */
  readonly blockBytes: readonly number[]
}

/** When a guest is only observed, beside the windows. */
export interface Baseline {
  readonly before: boolean
  readonly after: boolean
}

/** What a curve has beside the figures of its windows. */
export interface CurveDetail {
  /** The sizes of granules to count, in bytes; none in mode page-sampling. */
  readonly granularities: readonly number[]
  /** By default the guest is observed before the windows and after them. */
  readonly baseline?: Baseline
}

/** One window that was measured. */
export interface Round<F extends Figures = Figures> {
  readonly figures: F
  /** How much later than the deadline the window's last look began. */
  readonly lateNs: number
  /** How much longer than asked for the window may be, because the looks at its ends take time. */
  readonly explainedNs: number
  /** In a curve by page sampling: the pages first seen dirty since the window before. */
  readonly increment?: Increment
  /** In a curve of a target that knows where its pages are. */
  readonly regions?: readonly RegionOfWindow[]
  /** In a curve by an exact mode: as many as were asked for, in that order. */
  readonly granularities?: readonly GranulesOfWindow[]
  /** In a curve. */
  readonly memory?: CurveMemory
  /**
   * What QEMU itself said, where QEMU measured: its answer to query-dirty-rate, with the time in
   * ms.
   */
  readonly info?: DirtyRateInfo
  /** When the window opened, if that was not when the measurement was asked for. */
  readonly openedAt?: Date
}

/** What sampled pages of a memory hold. */
export type MemoryContents = Omit<CurveMemory, 'bytes'>

/** A VM that can be measured, of whatever kind. */
export interface Source<F extends Figures = Figures> {
  /** The modes of the target. `auto` is the first of them. */
  readonly modes: readonly ModeAbility[]
  /** The options of sampling that have no effect here, so that a caller may not give them. */
  readonly ignoredSampling?: readonly (keyof SamplingOptions)[]
  /**
   * What the memory holds: its pages of zeros, and how well the others compress. Absent where the
   * memory cannot be read.
   */
  contents?(method: Method, signal: Signal): Promise<MemoryContents>
  /** The memory whose cells can be counted. Absent where nobody says which pages are dirty. */
  memoryLayout?(): MemoryLayout
  /** The bytes of a page, if the exact modes of the target know which pages are dirty. */
  readonly exactPageSize?: number | undefined
  /** Why {@link exactPageSize} is absent, as a part of a sentence. */
  readonly whyNoGranules?: string
  /** The error for a caller that asks for a mode which the target does not have. */
  modeUnavailable(mode: Mode): DirtyRateError
  /** Throws what keeps a measurement from beginning now. */
  requireMeasurable(): void
  /** The error that a caller gets when a call of the source has failed with `error`. */
  explain(error: unknown): unknown
  /**
   * Measures the windows that end `deadlinesMs` after one opening, ascending, and gives one round
   * for each. Ends early, by any error, when `signal` is aborted. With `detail` the rounds have
   * what a curve needs.
   */
  measure(
    method: Method,
    deadlinesMs: readonly number[],
    signal: Signal,
    detail?: CurveDetail,
  ): Promise<Round<F>[]>
  /**
   * Measures curve after curve, without end, so that no write is between two of them. Absent if
   * the target cannot do that; then the meter calls `measure` again and again.
   */
  curves?(
    method: Method,
    deadlinesMs: readonly number[],
    signal: Signal,
    detail: CurveDetail,
  ): AsyncGenerator<Round<F>[], void, undefined> | undefined
  /**
   * Measures window after window, without end. Each window ends at a multiple of `everyMs`, or as
   * soon after it as it was asked for.
   */
  rounds(method: Method, everyMs: number, signal: Signal): AsyncGenerator<Round<F>, void, undefined>
}
