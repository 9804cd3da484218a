/** What is known of a VM of our own in every mode: its pages, its blocks, and what the measurement took. */

import type { Round } from '../../measurement/source.js'
import type { WithInfo } from '../../qapi/info.js'
import type {
  BlockMeasurement,
  Cost,
  DirtyBitmapFigures,
  DirtyRingFigures,
  Frame,
  PageSamplingFigures,
  RingMeasurement,
  SamplingMeasurement,
  VcpuMeasurement,
} from '../../results/measurement.js'

/** What is known of a VM of our own in every mode, beside the figures of any target. */
export interface KnownOfVirtualMachine {
  readonly pages: number
  readonly pageSize: number
  readonly blocks: readonly BlockMeasurement[]
  readonly cost: Cost
}

/** What KVM's dirty bitmap says of a VM of our own. */
export type BitmapFigures = DirtyBitmapFigures & KnownOfVirtualMachine
/** What the dirty rings of a VM of our own say. */
export type RingFigures = Omit<DirtyRingFigures, 'vcpus' | 'ring'> &
  KnownOfVirtualMachine & {
    readonly vcpus: readonly Required<VcpuMeasurement>[]
    readonly ring: RingMeasurement
  }
/** What samples of the pages of a VM of our own say. */
export type SampledFigures = PageSamplingFigures &
  KnownOfVirtualMachine & { readonly sampling: Required<SamplingMeasurement> }

/** The figures of one window of a VM of our own: a union by `mode`. */
export type VirtualMachineFigures = BitmapFigures | RingFigures | SampledFigures

/** One window of a VM of our own. */
export type VirtualMachineRound = Round<VirtualMachineFigures>

/** How fast a VM of our own dirtied its memory in one window: a union by `mode`. */
export type VirtualMachineMeasurement = WithInfo<Frame & VirtualMachineFigures>
