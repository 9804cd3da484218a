/** Plans how to empty a host: which VM goes when, how, and which ones do not go. */

import { parseObject, parseText, show } from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'
import type { Size } from '../../ground/units.js'
import { arrayOf, optional } from '../checks.js'
import type { CurveInput } from '../curve-input.js'
import { type Figure, figureOf, type Verdict } from '../figure.js'
import { type PredictionCurve, parseCurve } from '../input.js'
import { memoryOf } from '../options.js'
import type { PublishedCurve } from '../published-curve.js'
import { type Job, playStage, type Stage, type Times } from './lanes.js'
import { Movable, type Offer } from './offers.js'
import {
  type PlanMethod,
  type PlanOptions,
  parsePlanOptions,
  planMethods,
  type Task,
} from './options.js'
import { divide, secondsOf } from './stages.js'

/** A VM that is to leave its host. */
export interface VmToMove {
  /** How the plan calls it. Each VM has a name of its own. */
  readonly name: string
  readonly curve: PredictionCurve | PublishedCurve
  /** The memory of the VM, if the curve does not know it. */
  readonly memory?: Size | undefined
}

/** The migration of one VM. */
export interface PlannedMigration extends Offer {
  readonly name: string
  /** The stage, from 1. A stage begins when all migrations of the one before are over. */
  readonly stage: number
  /** The lane of the stage, from 1. The migrations of a lane run one after the other. */
  readonly lane: number
  /** When it begins, from the beginning of the plan. */
  readonly startMs: Figure
}

/** A VM that does not go by any of the methods that are allowed. */
export interface StayingVm {
  readonly name: string
  /** What a live migration over the whole link would do. */
  readonly verdict: Verdict
  /** The downtime with which it surely goes live; null if there is none. */
  readonly leastDowntimeMs: number | null
  /** The methods that are not allowed, by which it would go. */
  readonly wouldGoBy: readonly PlanMethod[]
  /** The same in a sentence. */
  readonly reason: string
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
const MS = 1000
const ZERO: Figure = { value: 0, low: 0, high: 0 }

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

/** A VM that goes, and by which method. */
class Going implements Job {
  readonly #movable: Movable
  readonly method: PlanMethod
  readonly #task: Task

  constructor(movable: Movable, method: PlanMethod, task: Task) {
    this.#movable = movable
    this.method = method
    this.#task = task
  }

  get name(): string {
    return this.#movable.name
  }

  /** multifd takes all that the link carries, so that nothing else can run beside it. */
  get isAlone(): boolean {
    return this.method === 'compression'
  }

  get setupSeconds(): number {
    return this.#task.overhead
  }

  /** How long it keeps the link busy at least: with all of the link it sends the least. */
  get leastOnLink(): number {
    const { bytesPerSecond } = this.#task.wanted
    const copying = this.#movable.copySeconds(this.method, bytesPerSecond)
    const share = bytesPerSecond / this.#task.linkBytesPerSecond
    return Math.max(copying - this.#movable.fixedSeconds, 0) * share
  }

  copySeconds(width: number, active: number): number {
    if (this.isAlone && width > 1) return Number.POSITIVE_INFINITY
    const [counted, actual] = [rateOf(width, this.#task), rateOf(active, this.#task)]
    return this.#movable.copySeconds(this.method, counted, actual)
  }

  offer(width: number): Offer {
    return this.#movable.offer(this.method, rateOf(width, this.#task))
  }
}

/** No plan is shorter: each migration prepares and copies, and the link is kept busy by each. */
const leastSeconds = (going: readonly Going[], { overhead }: Task): number =>
  going.reduce((sum, { leastOnLink }) => sum + leastOnLink, going.length > 0 ? overhead : 0)

/** What each of so many migrations has that copy at the same time. */
const rateOf = (width: number, { wanted, linkBytesPerSecond }: Task): number =>
  Math.min(wanted.bytesPerSecond, linkBytesPerSecond / width)

/**
 * The widths that a stage may have. As long as the link has room for one more migration at its full
 * rate, a wider stage has more lanes, and each of them is as fast.
 */
function widthsOf(task: Task, going: readonly Going[]): number[] {
  const { wanted, linkBytesPerSecond, parallel } = task
  const full = Math.floor((linkBytesPerSecond / wanted.bytesPerSecond) * (1 + 1e-12))
  const least = Math.min(Math.max(full, 1), parallel)
  const widths = Array.from({ length: parallel - least + 1 }, (_, at) => least + at)
  return going.some(({ isAlone }) => isAlone) && least > 1 ? [1, ...widths] : widths
}

/** When each migration begins and ends, as is probable, and if all of them take the bounds. */
function timetable(
  stages: readonly Stage[],
  going: readonly Going[],
): Pick<MigrationPlan, 'migrations' | 'totalMs'> {
  const migrations: PlannedMigration[] = []
  let begin = ZERO
  for (const [stage, { width, lanes }] of stages.entries()) {
    const offers = new Map(lanes.flat().map(job => [job, going[job]?.offer(width)]))
    const played = boundsOf((of): Map<number, Times> => {
      const jobs = going.map((one, job) => scaled(one, offers.get(job), of))
      return playStage({ width, lanes }, jobs)
    })
    let end = begin
    for (const [lane, jobs] of lanes.entries()) {
      for (const job of jobs) {
        const [one, offer] = [going[job], offers.get(job)]
        if (one === undefined || offer === undefined) continue
        const at = (when: 'begin' | 'end'): Figure =>
          sorted(
            boundsOf(of => {
              const [before, times] = [begin[of], played[of].get(job)]
              return before === null || times === undefined ? null : before + times[when] * MS
            }),
          )
        const [startMs, endMs] = [at('begin'), at('end')]
        const totalMs = sorted(boundsOf(of => difference(endMs[of], startMs[of])))
        migrations.push({
          name: one.name,
          stage: stage + 1,
          lane: lane + 1,
          startMs,
          ...offer,
          totalMs,
        })
        end = boundsOf(of => later(end[of], endMs[of]))
      }
    }
    begin = end
  }
  return { migrations, totalMs: begin }
}

type Of = keyof Figure

const boundsOf = <T>(make: (of: Of) => T): Record<Of, T> => ({
  value: make('value'),
  low: make('low'),
  high: make('high'),
})

/**
 * In their order: of two lanes the one that takes its least time may take a larger share of the
 * link from the other.
 */
function sorted({ value, low, high }: Figure): Figure {
  const numbers = [value, low, high].map(one => one ?? Number.POSITIVE_INFINITY)
  return figureOf(numbers[0] ?? 0, numbers)
}

const difference = (end: number | null, start: number | null): number | null =>
  end === null || start === null ? null : end - start
const later = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? null : Math.max(a, b)

/**
 * The migration that takes one of its bounds. The bounds of its whole share of the link hold for a
 * larger share too, as a part of the time.
 */
function scaled(one: Going, offer: Offer | undefined, of: Of): Job {
  const { setupSeconds } = one
  const copying = (ms: number | null): number =>
    ms === null ? Number.POSITIVE_INFINITY : ms / MS - setupSeconds
  const part = offer === undefined ? 1 : copying(offer.totalMs[of]) / copying(offer.totalMs.value)
  return {
    setupSeconds,
    copySeconds: (width, active) => one.copySeconds(width, active) * part,
  }
}

function stays(movable: Movable, { wanted, methods }: Task): StayingVm {
  const { bytesPerSecond } = wanted
  const verdict = movable.verdict(bytesPerSecond)
  const wouldGoBy = planMethods.filter(
    method =>
      !methods.includes(method) &&
      method !== 'more-downtime' &&
      (wanted.profile.name.startsWith('qemu') || method === 'shutdown' || method === 'live') &&
      movable.goes(method, bytesPerSecond),
  )
  const leastDowntimeMs = movable.leastDowntimeMs(bytesPerSecond)
  const by = wouldGoBy.length === 0 ? '' : ` It would go by ${wouldGoBy.join(', or by ')}.`
  const least =
    leastDowntimeMs === null || verdict === 'converges'
      ? ''
      : ` It surely goes with a downtime of ${Math.ceil(leastDowntimeMs)} ms.`
  return {
    name: movable.name,
    verdict,
    leastDowntimeMs,
    wouldGoBy,
    reason: `${WHY[verdict]}${least}${by}`,
  }
}

const WHY: Readonly<Record<Verdict, string>> = {
  converges: 'A live migration ends, but the method is not allowed.',
  stalls: 'A live migration does not end.',
  uncertain: 'The curve does not tell whether a live migration ends.',
}
