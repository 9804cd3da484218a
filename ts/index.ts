/** What the package exports, and nothing else. */

export type { OwnBigUint64Array, OwnUint8Array, OwnUint32Array } from './ground/arguments.js'
export {
  DirtyRateError,
  type ErrorCode,
  type ErrorDetails,
  errorCodes,
  isDirtyRateError,
} from './ground/errors.js'
export { type LogEvent, type LogLevel, logLevels, setLog } from './ground/log.js'
export type { Duration, Rate, Size } from './ground/units.js'
export type { MeasurementBegun, MeasurementEvents } from './measurement/events.js'
export type { ResultOf } from './measurement/meter.js'
export type { WantedMode } from './measurement/mode.js'
export type {
  CommonOptions,
  CurveOptions,
  MeasureOptions,
  WatchOptions,
} from './measurement/options.js'
export type { SampleOptions, SamplingOptions } from './measurement/sampling.js'
export type { ModeAbility } from './measurement/source.js'
export type { DirtyRateWatch } from './measurement/watch.js'
export { QapiError } from './qapi/error.js'
export { type HmpTarget, humanMonitorCommand } from './qapi/hmp.js'
export type { DirtyRateMeasurement, WithInfo } from './qapi/info.js'
export type { DirtyRateMeasureMode } from './qapi/measure-mode.js'
export { formatTrace, type TraceName, traceNames } from './qapi/trace.js'
export type {
  CalcDirtyRateArguments,
  DirtyRateInfo,
  DirtyRateStatus,
  DirtyRateVcpu,
  QueryDirtyRateArguments,
  TimeUnit,
} from './qapi/types.js'
export type { ServedTarget } from './qmp/server/commands.js'
export {
  createQmpServer,
  type QmpServer,
  type QmpServerEnd,
  type QmpServerOptions,
} from './qmp/server/server.js'
export type { CellsOfBlock, DirtyCells } from './results/cells.js'
export type {
  Bounded,
  CountedCurve,
  CountedPoint,
  CountedSampledPoint,
  CurveGranularity,
  CurveMemory,
  CurveOf,
  CurvePhase,
  CurveRegion,
  CurveRound,
  CurveSpread,
  DirtyRateCurve,
  DirtyRatePoint,
  ExactCurve,
  Increment,
  RepeatedCurve,
  SampledCurve,
  SampledPoint,
  StationarityTest,
} from './results/curve.js'
export type {
  BlockMeasurement,
  Cost,
  DirtyBitmapFigures,
  DirtyRingFigures,
  Figures,
  Frame,
  GuestActivity,
  GuestCost,
  Interval,
  PageSamplingFigures,
  RingMeasurement,
  SamplingMeasurement,
  SoftDirtyFigures,
  VcpuMeasurement,
  Window,
} from './results/measurement.js'
export type { MigrationProgress } from './results/migration.js'
export { type InMode, type Mode, modes } from './results/mode.js'
export type { Truth } from './results/truth.js'
export {
  type Warning,
  type WarningCode,
  type WarningError,
  warningCodes,
} from './results/warning.js'
export type { MeasuredTarget } from './targets/measured-target.js'
export { openTarget, type SchemeTargets, type TargetOf } from './targets/open.js'
export type { OwnSamplesFigures, PlacedBlock } from './targets/page-sampling.js'
export type { ProcessTarget } from './targets/process/process-target.js'
export type { ProcessSoftDirtyFigures } from './targets/process/soft-dirty.js'
export type { ProcessFigures, ProcessSampledFigures } from './targets/process/source.js'
export type { QmpTarget } from './targets/qmp/qmp-target.js'
export type { OpenOptions } from './targets/scheme.js'
export type {
  Control,
  GuestMemory,
  GuestRange,
  MeasuringWay,
  Target,
  TargetDescription,
  TargetStateChange,
} from './targets/target.js'
export { capabilities } from './targets/vm/capabilities.js'
export type { CreateOptions, ManualProtect } from './targets/vm/create-options.js'
export type { Client, DirtyMemory } from './targets/vm/dirty-memory.js'
export type {
  BitmapFigures,
  KnownOfVirtualMachine,
  RingFigures,
  SampledFigures,
  VirtualMachineFigures,
  VirtualMachineMeasurement,
} from './targets/vm/figures.js'
export type { KernelImage } from './targets/vm/kernel-image.js'
export type { EndState, StateChange, VirtualMachineState } from './targets/vm/lifecycle.js'
export type { Block } from './targets/vm/memory.js'
export type { DirtyLogKind } from './targets/vm/modes.js'
export type {
  BlockReap,
  Capabilities,
  Crash,
  DeadlineReport,
  GranularityReap,
  RamBlockInfo,
  Reap,
  RingReap,
  SyncReport,
  VcpuReap,
  WorkloadInstant,
} from './targets/vm/reports.js'
export { VirtualMachine } from './targets/vm/virtual-machine.js'
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
