/** What `dirtyrate/prediction` exports, and nothing else. It runs in a browser. */

export { DirtyRateError, isDirtyRateError } from '../ground/errors.js'
export type { Duration, Rate, Size } from '../ground/units.js'
export type { Decision } from './decision.js'
export { type Figure, type Verdict, verdicts } from './figure.js'
export type { MigrationFigures } from './figures.js'
export type { PredictionCurve, PredictionPoint } from './input.js'
export {
  type MigrationPrediction,
  type PredictedPhase,
  predictMigration,
} from './migration.js'
export type { MigrationOptions } from './options.js'
export { type PlanMethod, type PlanOptions, planMethods } from './plan/options.js'
export { type MigrationPlan, planMigrations, type VmToMove } from './plan/plan.js'
export type { StayingVm } from './plan/staying.js'
export type { PlannedMigration } from './plan/timetable.js'
export { type MigrationProfile, profileNames } from './profiles.js'
export type { PublishedCurve } from './published-curve.js'
export {
  predictSnapshot,
  type SnapshotChoice,
  type SnapshotOptions,
  type SnapshotPrediction,
} from './snapshot.js'
export { type WayOut, wayKinds } from './ways-out.js'
