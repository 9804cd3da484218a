/** The types of figures of our own VMs. In every mode their pages, blocks and cost are known. */

import type { Round } from '../../measurement/source.js'
import type { WithInfo } from '../../qapi/info.js'
import type {
  Cost,
  DirtyBitmapFigures,
  DirtyRingFigures,
  Frame,
  PageSamplingFigures,
  RingMeasurement,
  SamplingMeasurement,
  VcpuMeasurement,
  Window,
} from '../../results/measurement.js'
import type { PlacedBlock } from '../page-sampling.js'

/**
 * The members that the figures of our own VMs always have, in addition to the figures of any
 * target.
 */
export interface KnownOfVirtualMachine {
  readonly window: Window & Required<Pick<Window, 'skewNs'>>
  readonly pages: number
  readonly pageSize: number
  readonly blocks: readonly PlacedBlock[]
  readonly cost: Cost
}

/** The figures of one of our own VMs by KVM's dirty bitmap. */
export type BitmapFigures = DirtyBitmapFigures & KnownOfVirtualMachine
/** The figures of one of our own VMs by its dirty rings. */
export type RingFigures = Omit<DirtyRingFigures, 'vcpus' | 'ring'> &
  KnownOfVirtualMachine & {
    readonly vcpus: readonly Required<VcpuMeasurement>[]
    readonly ring: RingMeasurement
  }
/** The figures of one of our own VMs by samples of its pages. */
export type SampledFigures = PageSamplingFigures &
  KnownOfVirtualMachine & { readonly sampling: Required<SamplingMeasurement> }

/** The figures of one window of a VM of our own: a union by `mode`. */
export type VirtualMachineFigures = BitmapFigures | RingFigures | SampledFigures

/** One window of a VM of our own. */
export type VirtualMachineRound = Round<VirtualMachineFigures>

/** How fast a VM of our own dirtied its memory in one window: a union by `mode`. */
export type VirtualMachineMeasurement = WithInfo<Frame & VirtualMachineFigures>
