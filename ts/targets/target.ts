/** The interface of every VM that can be measured. */

import type { MeasurementEvents } from '../measurement/events.js'
import type { WantedMode } from '../measurement/mode.js'
import type { CurveOptions, MeasureOptions, WatchOptions } from '../measurement/options.js'
import type { ModeAbility } from '../measurement/source.js'
import type { DirtyRateWatch } from '../measurement/watch.js'
import type { DirtyRateMeasurement } from '../qapi/info.js'
import type {
  CalcDirtyRateArguments,
  DirtyRateInfo,
  QueryDirtyRateArguments,
} from '../qapi/types.js'
import type { DirtyRateCurve } from '../results/curve.js'
import type { MigrationProgress } from '../results/migration.js'
import type { InMode, Mode } from '../results/mode.js'

declare global {
  /**
   * The same declaration as in newer TypeScript libraries and newer types of Node, so that these
   * declarations need neither of them.
   */
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol
  }
}

/** What a VM has, and how it can be measured. */
export interface TargetDescription {
  uri: string
  memoryBytes: number
  /** Absent where nobody outside of the VM knows. */
  vcpus?: number
  state: string
  /** Whether KVM runs the guest; absent where nobody outside of the VM knows. */
  kvm?: boolean
  /** The modes of the target, and what each costs the guest. */
  modes: ModeAbility[]
  /** What runs the VM, as far as it is not this package: `QEMU 10.0.2, with KVM`. */
  software?: string
  /** The migration of the VM that is under way, or the last one. */
  migration?: MigrationProgress
  /** Which memory of the process is the guest's, if that had to be found out. */
  guestMemory?: GuestMemory
  /** The ways in which the VM can be measured, if there are several. */
  ways?: readonly MeasuringWay[]
}

/** A way in which a VM can be measured, by a target of its own. */
export interface MeasuringWay {
  /** The URI of the target. */
  readonly target: string
  /** What its results have and what it costs, as a part of a sentence. */
  readonly gives: string
}

/** The memory of a process that is a guest's, as it was found from outside. */
export interface GuestMemory {
  readonly ranges: readonly GuestRange[]
  /** How the ranges were found, in sentences, and what was left out. */
  readonly why: readonly string[]
}

/** A range of a process's memory. */
export interface GuestRange {
  readonly name: string
  /** The first address in the process, and the one behind the last, as `range=` takes them. */
  readonly addresses: string
  readonly bytes: number
  /** Where the guest sees the first byte; absent if that cannot be known from outside. */
  readonly guestAddress?: number
}

/** A change of what a VM is doing, in the words of {@link TargetDescription.state}. */
export interface TargetStateChange {
  readonly from: string
  readonly to: string
}

/** The ability to stop a VM's guest, and to let it go on. */
export interface Control {
  /** Whether this process made the VM, which then ends with the process in any case. */
  readonly isOwn: boolean
  /** Pauses the vCPUs. Measurements under way reject with ERR_PAUSED. */
  pause(): Promise<void>
  /** Lets the vCPUs of a paused VM run again. */
  resume(): Promise<void>
  /** Ends the guest. Measurements under way reject with ERR_STATE. */
  shutdown(): Promise<void>
}

/**
 * A VM that can be measured; its results are of type `M`, and its curves of type `C`. An ability
 * that only some kinds of VM have is an optional member: check for `target.control`, and not for a
 * class.
 */
export interface Target<M = DirtyRateMeasurement, C = DirtyRateCurve> {
  /** The target URI, which opens the same target again. */
  readonly uri: string
  /** The modes of the target. `auto` is the first of them. */
  readonly modes: readonly Mode[]
  /**
   * Whether this package looks at the memory of the VM, so that a curve has `regions` and can have
   * `compressibility`.
   */
  readonly readsMemory: boolean
  /**
   * The last results, oldest first: those of measureDirtyRate, of calcDirtyRate, and the rounds of
   * watchDirtyRate. The results are frozen.
   */
  readonly history: readonly M[]
  /** Pauses, resumes and ends the guest. Present if the target can do that. */
  readonly control?: Control
  /**
   * Calls `listener` at each change of the VM's state. The returned function removes the listener.
   * Present if the target hears of changes, also of the end of a guest that ends by itself.
   */
  onStateChange?(listener: (change: TargetStateChange) => void): () => void
  /** Which memory of a process is the guest's. Present if that had to be found out. */
  readonly guestMemory?: GuestMemory
  /**
   * The process of this host that runs the VM; undefined if it is not known.
   *
   * @internal
   */
  readonly processId?: number | undefined
  /**
   * The windows of a curve for which the command was given none; undefined if any will do.
   *
   * @internal
   */
  readonly curveWindows?: readonly string[] | undefined
  /**
   * The bytes of a page, if the exact modes know which granules of the guest's memory are dirty.
   *
   * @internal
   */
  readonly exactPageSize?: number | undefined
  /**
   * The size of cells for a picture of the memory, for the option `cells`; undefined if the target
   * does not know where its dirty pages are, so that it refuses `cells`.
   *
   * @internal
   */
  readonly suitableCellBytes?: number | undefined
  /**
   * Keeps at most so many results in `history` from now on. A result with cells can take 100 KiB.
   *
   * @internal
   */
  limitHistory?(size: number): void
  /** The output of the guest's console, piece by piece. Present if it can be read. */
  readonly console?: AsyncIterable<string>
  /** What the VM has, and the modes that it can be measured in. */
  describe(): Promise<TargetDescription>
  /** Calls `listener` at each event of that name. The returned function removes the listener. */
  on<Name extends keyof MeasurementEvents<M, C>>(
    name: Name,
    listener: (event: MeasurementEvents<M, C>[Name]) => void,
  ): () => void
  /** Measures one window. */
  measureDirtyRate<W extends WantedMode = WantedMode>(
    options?: MeasureOptions<W>,
  ): Promise<InMode<M, W>>
  /** Measures the distinct pages for every window, in one run. */
  measureDirtyCurve<W extends WantedMode = WantedMode>(
    options: CurveOptions<W>,
  ): Promise<InMode<C, W>>
  /** Measures one window after the other, for as long as the loop asks. */
  watchDirtyRate<W extends WantedMode = WantedMode>(
    options?: WatchOptions<W>,
  ): DirtyRateWatch<InMode<M, W>>
  /** QEMU's calc-dirty-rate, which starts the one job and resolves at once. */
  calcDirtyRate(args: CalcDirtyRateArguments): Promise<void>
  /** QEMU's query-dirty-rate. */
  queryDirtyRate(args?: QueryDirtyRateArguments): Promise<DirtyRateInfo>
  /** Closes the target. Calling it again changes nothing. */
  close(): Promise<void>
  /** {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}
