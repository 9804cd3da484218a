/** Plans how to empty a host: which VM goes when, how, and which ones do not go. */

import { parseObject, parseText, show } from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'
import type { Size } from '../../ground/units.js'
import { arrayOf, optional } from '../checks.js'
import type { CurveInput } from '../curve-input.js'
import type { Figure } from '../figure.js'
import { type PredictionCurve, parseCurve } from '../input.js'
import { memoryOf } from '../options.js'
import type { PublishedCurve } from '../published-curve.js'
import { Going, leastSeconds, widthsOf } from './going.js'
import { Movable } from './offers.js'
import { type PlanMethod, type PlanOptions, parsePlanOptions, type Task } from './options.js'
import { divide, secondsOf } from './stages.js'
import { type StayingVm, stays } from './staying.js'
import { type PlannedMigration, timetable } from './timetable.js'

/** A VM that is to leave its host. */
export interface VmToMove {
  /** How the plan calls it. Each VM has a name of its own. */
  readonly name: string
  readonly curve: PredictionCurve | PublishedCurve
  /** The memory of the VM, if the curve does not know it. */
  readonly memory?: Size | undefined
}

/** How to empty a host. */
export interface MigrationPlan {
  /** The name of the profile. */
  readonly profile: string
  /** What the link carries that all migrations share. */
  readonly bandwidthBytesPerSecond: number
  /** The downtime that is allowed; null if it is not limited. */
  readonly downtimeLimitMs: number | null
  readonly methods: readonly PlanMethod[]
  /** From the first beginning to the last end. */
  readonly totalMs: Figure
  /** How long the same migrations most probably take one after the other. */
  readonly oneByOneMs: number
  /** The VMs that go, by stage, and in each stage by lane. */
  readonly migrations: readonly PlannedMigration[]
  /** The VMs that do not go. */
  readonly staying: readonly StayingVm[]
}

/** More than any host has. */
const MOST_VMS = 10_000

/**
 * Plans how to empty a host, from the curves of its VMs. All migrations share one link. A VM goes
 * by the first method that is allowed and surely works over the whole link; a method is never
 * changed to save time. The plan takes no longer than the same migrations one after the other. It
 * is a pure function: nothing is measured or migrated. Throws ERR_ARGUMENT for a curve or an option
 * that cannot be used.
 *
 * @example
 * ```ts
 * import { planMigrations } from 'dirtyrate/prediction'
 *
 * const curve = (rate: number) => ({
 *   points: [0.1, 1, 10].map(seconds => {
 *     const bytesPerSecond = rate / seconds ** 0.5
 *     const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
 *     return { windowNs: seconds * 1e9, bytesPerSecond, interval }
 *   }),
 *   memory: { bytes: 4 * 2 ** 30 },
 * })
 * const vms = [
 *   { name: 'web', curve: curve(20e6) },
 *   { name: 'db', curve: curve(4e9) },
 * ]
 * const { migrations, staying } = planMigrations(vms, { bandwidth: '10Gbit/s', downtime: '300ms' })
 * console.log(migrations.map(({ name }) => name)) // [ 'web' ]
 * console.log(staying.map(({ name }) => name)) // [ 'db' ]
 * ```
 */
export function planMigrations(vms: readonly VmToMove[], options: PlanOptions): MigrationPlan {
  const task = parsePlanOptions(options)
  return plan(parseVms(vms), task)
}

/** A VM whose curve is checked. */
export interface CheckedVm {
  readonly name: string
  readonly input: CurveInput
  readonly memoryBytes?: number
}

function parseVms(vms: readonly VmToMove[]): CheckedVm[] {
  return arrayOf<VmToMove>(vms, 'vms', 0, MOST_VMS).map((vm, at) => {
    const { name, curve, memory } = parseObject(vm, `vms[${at}]`, '{ name, curve }')
    const memoryBytes = optional(memory, size => memoryOf(size, `vms[${at}].memory`))
    return {
      name: parseText(name, `vms[${at}].name`),
      input: parseCurve(curve, `vms[${at}].curve`),
      ...(memoryBytes === undefined ? {} : { memoryBytes }),
    }
  })
}

/** The same, of curves and options that are checked already. */
export function plan(vms: readonly CheckedVm[], task: Task): MigrationPlan {
  refuseSameNames(vms)
  const { wanted, linkBytesPerSecond } = task
  const going: Going[] = []
  const staying: StayingVm[] = []
  for (const { name, input, memoryBytes } of vms) {
    const movable = movableOf(name, input, memoryBytes, task)
    const method = task.methods.find(one => movable.goes(one, wanted.bytesPerSecond))
    if (method === undefined) staying.push(stays(movable, task))
    else going.push(new Going(movable, method, task))
  }
  const stages = divide(going, widthsOf(task, going), leastSeconds(going, task))
  const { migrations, totalMs } = timetable(stages, going)
  const oneByOne = { width: 1, lanes: [[...going.keys()]] }
  return {
    profile: wanted.profile.name,
    bandwidthBytesPerSecond: linkBytesPerSecond,
    downtimeLimitMs: Number.isFinite(wanted.downtime) ? wanted.downtime * 1000 : null,
    methods: task.methods,
    totalMs,
    oneByOneMs: secondsOf([oneByOne], going) * 1000,
    migrations,
    staying,
  }
}

function refuseSameNames(vms: readonly CheckedVm[]): void {
  const seen = new Set<string>()
  for (const { name } of vms) {
    if (seen.has(name)) {
      throw argumentError(
        `vms: ${show(name)} is there twice`,
        'Give each VM once, with a name of its own.',
      )
    }
    seen.add(name)
  }
}

/** An error of one curve says which VM has it. */
function movableOf(
  name: string,
  input: CurveInput,
  memoryBytes: number | undefined,
  task: Task,
): Movable {
  try {
    return new Movable(name, input, task, memoryBytes)
  } catch (error) {
    const { message, hint } = error as { message: string; hint?: string }
    throw argumentError(`${name}: ${message}`, hint)
  }
}
