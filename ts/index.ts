/** What the package exports, and nothing else. */

export type { OwnBigUint64Array, OwnUint8Array, OwnUint32Array } from './ground/arguments.js'
export { DirtyRateError, type ErrorCode, type ErrorDetails, errorCodes } from './ground/errors.js'
export { type LogEvent, type LogLevel, logLevels, setLog } from './ground/log.js'
export type { Duration, Rate, Size } from './ground/units.js'
export type { DirtyRateCurve, DirtyRatePoint } from './measurement/curve.js'
export type { MeasurementBegun, MeasurementEvents } from './measurement/events.js'
export type { DirtyLogKind } from './measurement/mode.js'
export type { CommonOptions, CurveOptions, MeasureOptions, WatchOptions } from './measurement/options.js'
export type { DirtyRateWatch } from './measurement/watch.js'
export { QapiError } from './qapi/error.js'
export { type HmpTarget, humanMonitorCommand } from './qapi/hmp.js'
export { formatTrace, type TraceName, traceNames } from './qapi/trace.js'
export type {
  CalcDirtyRateArguments,
  DirtyRateInfo,
  DirtyRateStatus,
  DirtyRateVcpu,
  Mode,
  QueryDirtyRateArguments,
  TimeUnit,
} from './qapi/types.js'
export type { BlockMeasurement } from './results/blocks.js'
export type {
  Cost,
  DirtyRateMeasurement,
  Interval,
  RingMeasurement,
  SamplingMeasurement,
  VcpuMeasurement,
  VirtualMachineMeasurement,
  Warning,
} from './results/measurement.js'
export { type OpenOptions, openTarget } from './targets/open.js'
export type { Target, TargetDescription } from './targets/target.js'
export { capabilities } from './targets/vm/capabilities.js'
export type { CreateOptions, ManualProtect } from './targets/vm/create-options.js'
export type { Client, DirtyMemory } from './targets/vm/dirty-memory.js'
export type { KernelImage } from './targets/vm/kernel-image.js'
export type { Block } from './targets/vm/memory.js'
export type { SampleOptions, SamplingOptions } from './targets/vm/page-sampling.js'
export type {
  BlockReap,
  Capabilities,
  Crash,
  DeadlineReport,
  RamBlockInfo,
  Reap,
  RingReap,
  SyncReport,
  Truth,
  VcpuReap,
  WorkloadInstant,
} from './targets/vm/reports.js'
export { VirtualMachine, type VirtualMachineState } from './targets/vm/virtual-machine.js'
export {
  buildGuest,
  type GuestMachine,
  type RunningWorkload,
  type Workload,
  type WorkloadKind,
  type WorkloadOptions,
  workload,
  workloadKinds,
} from './targets/vm/workload.js'
