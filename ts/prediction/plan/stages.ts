/**
 * Divides migrations into stages, so that all of them together are over as soon as possible.
 *
 * A stage has a number of lanes that share the link, and begins when the one before is over. So
 * each migration has at least its share of the link, and goes only where that is surely enough, or
 * will surely be enough when others are over. One stage of one lane is the plan "one after the
 * other", and one stage with a lane for each migration is "all at once". Both are always among the
 * plans that are compared, if all migrations surely end in them.
 */

import { type Job, type Stage, stageSeconds } from './lanes.js'
import { ends, mostAtOnce, packed, secondsIn } from './packing.js'

/** All divisions of so few jobs are compared, and of more jobs only those that are promising. */
const FEW_JOBS = 4
/** Plans of many jobs are not looked for that could be shorter by no more than this part. */
const LEAST_GAIN = 0.01
/** Of so many jobs, so many widths in a row that make nothing shorter are enough. */
const MANY_JOBS = 20
const MOST_IN_VAIN = 2
/** A shorter plan is shorter by this part. Anything less is rounding. */
const ROUNDING = 1e-9
const MOST_ROUNDS = 3

/** How long all stages take. */
export function secondsOf(stages: readonly Stage[], jobs: readonly Job[]): number {
  return stages.reduce((sum, stage) => sum + stageSeconds(stage, jobs), 0)
}

/**
 * The shortest division that was found. `widths` are in ascending order; each job surely ends in a
 * stage of the first one. No division can take less than `least`.
 */
export function divide(jobs: readonly Job[], widths: readonly number[], least: number): Stage[] {
  if (jobs.length === 0) return []
  const even = evenly(jobs, widths, least)
  // Where jobs wait for a larger share, most VMs leave later. That has to be worth it.
  const mixed = new Best(jobs)
  for (const at of widths.keys()) mixed.offer(together(jobs, widths.slice(0, at + 1)))
  const isWorthIt = jobs.length < MANY_JOBS || mixed.seconds < even.seconds * (1 - LEAST_GAIN)
  if (isWorthIt) improve(jobs, mixed, false)
  const found = mixed.seconds < even.seconds * (1 - LEAST_GAIN) ? mixed : even
  found.offer(allAtOnce(jobs, widths))
  return inOrder(found.stages, jobs)
}

/** One stage with a lane for each job; none if a job might not end, or if no stage is so wide. */
const allAtOnce = (jobs: readonly Job[], widths: readonly number[]): Stage[][] => {
  const width = Math.max(jobs.length, widths[0] ?? 1)
  const isTooWide = width > (widths.at(-1) ?? 1)
  return isTooWide ? [] : divisionOf(jobs, [{ width, chosen: [...jobs.keys()] }], false)
}

/** The shortest division in which each job surely ends with its share of its stage. */
function evenly(jobs: readonly Job[], widths: readonly number[], least: number): Best {
  const found = new Best(jobs)
  const few = jobs.length <= FEW_JOBS
  const mostInVain = jobs.length < MANY_JOBS ? widths.length : MOST_IN_VAIN
  const tried: number[] = []
  let inVain = 0
  for (const width of widths) {
    if (!few && (inVain >= mostInVain || found.seconds <= least * (1 + LEAST_GAIN))) break
    tried.push(width)
    const narrow = found.offer(stagesOf(jobs, tried, job => narrowest(job, tried)))
    const cheap = found.offer(stagesOf(jobs, tried, job => cheapest(job, tried)))
    inVain = narrow || cheap ? 0 : inVain + 1
  }
  if (few) compareAll(jobs, tried, found, least)
  else improve(jobs, found, true)
  return found
}

/** The shortest division so far. */
class Best {
  readonly #jobs: readonly Job[]
  /** How long stages take that were played before: a move changes two of them. */
  readonly #known = new WeakMap<Stage, number>()
  stages: readonly Stage[] = []
  seconds = Number.POSITIVE_INFINITY

  constructor(jobs: readonly Job[]) {
    this.#jobs = jobs
  }

  /** Takes the shortest of `all`, if it is shorter than the one so far. */
  offer(all: readonly (readonly Stage[])[]): boolean {
    let taken = false
    for (const stages of all) {
      const seconds = this.#secondsOf(stages)
      if (!(seconds < this.seconds * (1 - ROUNDING))) continue
      this.stages = stages
      this.seconds = seconds
      taken = true
    }
    return taken
  }

  /** Infinity for a division that is longer than the one so far. */
  #secondsOf(stages: readonly Stage[]): number {
    let sum = 0
    for (const stage of stages) sum += this.#known.get(stage) ?? 0
    for (const stage of stages) {
      if (this.#known.has(stage)) continue
      if (sum > this.seconds) return Number.POSITIVE_INFINITY
      const seconds = stageSeconds(stage, this.#jobs, this.seconds - sum)
      if (Number.isFinite(seconds)) this.#known.set(stage, seconds)
      sum += seconds
    }
    return sum
  }
}

/** The narrowest lane in which the job surely ends. */
const narrowest = (job: Job | undefined, widths: readonly number[]): number =>
  widths.findLast(width => ends(job, width)) ?? 1

/** The lane in which the job takes the smallest share of the stage's time. */
const cheapest = (job: Job, widths: readonly number[]): number =>
  widths
    .filter(width => ends(job, width))
    .reduce((best, width) =>
      secondsIn(job, width) / width < secondsIn(job, best) / best ? width : best,
    )

/** The stages in which each job has the width that `choose` says. */
function stagesOf(
  jobs: readonly Job[],
  widths: readonly number[],
  choose: (job: Job) => number,
): Stage[][] {
  const chosen = jobs.map(choose)
  return divisionOf(
    jobs,
    widths.map(width => ({
      width,
      chosen: [...jobs.keys()].filter(job => chosen[job] === width),
    })),
    true,
  )
}

/** As many jobs as possible in one stage of the last width, and the others in narrower ones. */
function together(jobs: readonly Job[], widths: readonly number[]): Stage[][] {
  const width = widths.at(-1) ?? 1
  const { chosen, left } = mostAtOnce(jobs, width)
  const narrower = widths.slice(0, -1)
  if (left.some(job => !narrower.some(of => ends(jobs[job], of)))) return []
  const others = new Map(left.map(job => [job, narrowest(jobs[job], narrower)]))
  const stages = [
    { width, chosen },
    ...narrower.map(of => ({ width: of, chosen: left.filter(job => others.get(job) === of) })),
  ]
  return divisionOf(jobs, stages, false)
}

/** The stages with these jobs, in each order; none if some job might not end. */
function divisionOf(
  jobs: readonly Job[],
  stages: readonly { readonly width: number; readonly chosen: readonly number[] }[],
  even: boolean,
): Stage[][] {
  const made: Stage[][] = []
  for (const { width, chosen } of stages) {
    if (chosen.length === 0) continue
    const orders = packed(jobs, width, chosen, even)
    if (orders.length === 0) return []
    made.push(orders)
  }
  const inOrder = (order: 0 | 1): Stage[] =>
    made.map(orders => (orders[order] ?? orders[0]) as Stage)
  return made.some(orders => orders.length > 1) ? [inOrder(0), inOrder(1)] : [inOrder(0)]
}

/** Moves single jobs from stage to stage as long as that makes the plan shorter. */
function improve(jobs: readonly Job[], found: Best, even: boolean): void {
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const moved = jobs.map((_, job) => moveJob(job, jobs, found, even))
    if (!moved.includes(true)) return
  }
}

function moveJob(job: number, jobs: readonly Job[], found: Best, even: boolean): boolean {
  let moved = false
  for (const { width } of found.stages) {
    const from = found.stages.find(({ lanes }) => lanes.some(lane => lane.includes(job)))
    const to = found.stages.find(stage => stage.width === width)
    if (from === undefined || to === undefined || from === to) continue
    const others = found.stages.filter(stage => stage !== from && stage !== to)
    const two = [
      { width: from.width, chosen: from.lanes.flat().filter(one => one !== job) },
      { width, chosen: [...to.lanes.flat(), job] },
    ]
    const changed = divisionOf(jobs, two, even)
    moved = found.offer(changed.map(made => [...others, ...made])) || moved
  }
  return moved
}

/** Compares all divisions: each job at each place of each lane of each stage. */
function compareAll(
  jobs: readonly Job[],
  widths: readonly number[],
  found: Best,
  least: number,
): void {
  const stages = widths.map(width => ({ width, lanes: [] as number[][] }))
  const place = (job: number): void => {
    if (found.seconds <= least * (1 + ROUNDING)) return
    if (job === jobs.length) {
      const made = stages.filter(({ lanes }) => lanes.length > 0)
      found.offer([made.map(({ width, lanes }) => ({ width, lanes: lanes.map(one => [...one]) }))])
      return
    }
    for (const { width, lanes } of stages) {
      if (!ends(jobs[job], width)) continue
      for (const lane of lanes) {
        for (let at = 0; at <= lane.length; at++) {
          lane.splice(at, 0, job)
          place(job + 1)
          lane.splice(at, 1)
        }
      }
      if (lanes.length === width) continue
      lanes.push([job])
      place(job + 1)
      lanes.pop()
    }
  }
  place(0)
}

/**
 * First the stages that take the least time for each of their VMs, so that most VMs leave early.
 * All together take as long.
 */
function inOrder(stages: readonly Stage[], jobs: readonly Job[]): Stage[] {
  const perJob = (stage: Stage): number =>
    stageSeconds(stage, jobs) / stage.lanes.reduce((sum, lane) => sum + lane.length, 0)
  return [...stages].sort((a, b) => perJob(a) - perJob(b))
}
