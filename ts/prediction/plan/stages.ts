/**
 * Divides migrations into stages, so that all of them together are over as soon as possible.
 *
 * A stage has a number of lanes that share the link, and begins when the one before is over. So
 * each migration has at least its share of the link, and goes only where that is surely enough. One
 * stage of one lane is the plan "one after the other", which is always among those that are
 * compared.
 */

import { type Job, type Stage, stageSeconds } from './lanes.js'

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
  else improve(jobs, found)
  return inOrder(found.stages, jobs)
}

/** The shortest division so far. */
class Best {
  readonly #jobs: readonly Job[]
  stages: readonly Stage[] = []
  seconds = Number.POSITIVE_INFINITY

  constructor(jobs: readonly Job[]) {
    this.#jobs = jobs
  }

  /** Takes the shortest of `all`, if it is shorter than the one so far. */
  offer(all: readonly (readonly Stage[])[]): boolean {
    let taken = false
    for (const stages of all) {
      const seconds = secondsOf(stages, this.#jobs)
      if (!(seconds < this.seconds * (1 - ROUNDING))) continue
      this.stages = stages
      this.seconds = seconds
      taken = true
    }
    return taken
  }
}

/** How long a job takes in a stage all of whose lanes copy. */
const secondsIn = (job: Job | undefined, width: number): number =>
  job === undefined ? 0 : job.setupSeconds + job.copySeconds(width, width)

const ends = (job: Job | undefined, width: number): boolean =>
  Number.isFinite(job?.copySeconds(width, width))

/** The narrowest lane in which the job surely ends. */
const narrowest = (job: Job, widths: readonly number[]): number =>
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
  const numbers = [...jobs.keys()]
  return ORDERS.map(order =>
    widths
      .map(width =>
        packed(
          jobs,
          width,
          numbers.filter(job => chosen[job] === width),
          order,
        ),
      )
      .filter(({ lanes }) => lanes.length > 0),
  )
}

/** In a lane, the shortest first, so that most VMs leave early, unless the other is shorter. */
const ORDERS = [1, -1] as const

/** These jobs in the lanes of one stage: the longest first, each into the lane that ends first. */
function packed(
  jobs: readonly Job[],
  width: number,
  chosen: readonly number[],
  order: (typeof ORDERS)[number],
): Stage {
  const seconds = (job: number): number => secondsIn(jobs[job], width)
  const lanes = Array.from({ length: Math.min(width, chosen.length) }, () => ({
    load: 0,
    jobs: [] as number[],
  }))
  for (const job of [...chosen].sort((a, b) => seconds(b) - seconds(a))) {
    const lane = lanes.reduce((least, one) => (one.load < least.load ? one : least))
    lane.jobs.push(job)
    lane.load += seconds(job)
  }
  const sorted = lanes.map(lane =>
    lane.jobs.sort((a, b) => (seconds(a) - seconds(b)) * order || a - b),
  )
  return { width, lanes: sorted }
}

/** Moves single jobs from stage to stage as long as that makes the plan shorter. */
function improve(jobs: readonly Job[], found: Best): void {
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const moved = jobs.map((_, job) => moveJob(job, jobs, found))
    if (!moved.includes(true)) return
  }
}

function moveJob(job: number, jobs: readonly Job[], found: Best): boolean {
  let moved = false
  for (const { width } of found.stages) {
    const from = found.stages.find(({ lanes }) => lanes.some(lane => lane.includes(job)))
    const to = found.stages.find(stage => stage.width === width)
    if (from === undefined || to === undefined || from === to || !ends(jobs[job], width)) continue
    const others = found.stages.filter(stage => stage !== from && stage !== to)
    const left = from.lanes.flat().filter(one => one !== job)
    const made = ORDERS.map(order => [
      ...others,
      ...(left.length > 0 ? [packed(jobs, from.width, left, order)] : []),
      packed(jobs, width, [...to.lanes.flat(), job], order),
    ])
    moved = found.offer(made) || moved
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
