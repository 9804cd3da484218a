/** What the package exports, and nothing else. */

export type { OwnBigUint64Array, OwnUint8Array, OwnUint32Array } from './arguments.js'
export { capabilities } from './capabilities.js'
export type { CreateOptions, ManualProtect } from './create-options.js'
export type { Client, DirtyMemory } from './dirty-memory.js'
export { DirtyRateError, type DirtyRateErrorCode, type ErrorDetails, errorCodes } from './errors.js'
export type { KernelImage } from './kernel-image.js'
export { type LogEvent, type LogLevel, logLevels, setLog } from './log.js'
export type { BlockMeasurement } from './measurement/blocks.js'
export type { DirtyRateCurve, DirtyRatePoint } from './measurement/curve.js'
export type { MeasurementBegun, MeasurementEvents } from './measurement/events.js'
export type { DirtyLogKind } from './measurement/mode.js'
export type { CommonOptions, CurveOptions, MeasureOptions, WatchOptions } from './measurement/options.js'
export type { SampleOptions, SamplingOptions } from './measurement/page-sampling.js'
export type {
  Cost,
  DirtyRateMeasurement,
  Interval,
  RingMeasurement,
  SamplingMeasurement,
  VcpuMeasurement,
  VirtualMachineMeasurement,
  Warning,
} from './measurement/result.js'
export type { DirtyRateWatch } from './measurement/watch.js'
export type { Block } from './memory.js'
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
} from './reports.js'
export { type OpenOptions, openTarget } from './targets/open.js'
export type { Target, TargetDescription } from './targets/target.js'
export type { Duration, Rate, Size } from './units.js'
export { VirtualMachine, type VirtualMachineState } from './virtual-machine.js'
export {
  buildGuest,
  type GuestMachine,
  type RunningWorkload,
  type Workload,
  type WorkloadKind,
  type WorkloadOptions,
  workload,
  workloadKinds,
} from './workload.js'
