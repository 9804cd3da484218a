/**
 * Puts migrations into the lanes of one stage.
 *
 * A migration that surely ends in a stage of this width may be anywhere. One that needs a larger
 * share of the link is the last of its lane: it surely has this share as soon as enough other lanes
 * are over, and they surely come to their end before.
 */

import type { Job, Stage } from './lanes.js'

/** Whether the job surely ends in a stage all of whose lanes copy. */
export const ends = (job: Job | undefined, width: number): boolean =>
  Number.isFinite(job?.copySeconds(width, width))

/** How long a job takes in a stage all of whose lanes copy. */
export const secondsIn = (job: Job | undefined, width: number): number =>
  job === undefined ? 0 : job.setupSeconds + job.copySeconds(width, width)

/** A job that needs a larger share than its stage has, and how many may copy beside each other. */
interface Demanding {
  readonly job: number
  readonly width: number
}

/**
 * These jobs in the lanes of one stage: the longest first, each into the lane that ends first. In
 * the first stage of the two, each lane begins with its shortest job, so that most VMs leave early,
 * and in the second one with its longest job. There is one stage if both are the same, and none if
 * one of the jobs might not end, or needs a larger share where `even` has none of those.
 */
export function packed(
  jobs: readonly Job[],
  width: number,
  chosen: readonly number[],
  even: boolean,
): Stage[] {
  const demanding = demandingOf(jobs, width, chosen)
  if (demanding === undefined || !endInTurn(demanding)) return []
  if (even && demanding.length > 0) return []
  const widths = new Map(demanding.map(one => [one.job, one.width]))
  const secondsOf = (job: number): Sized => ({
    job,
    seconds: secondsIn(jobs[job], widths.get(job) ?? width),
  })
  const lanes = Array.from({ length: Math.min(width, chosen.length) }, (_, at) => {
    const last = demanding[at]?.job
    const load = last === undefined ? 0 : secondsOf(last).seconds
    return { load, jobs: [] as Sized[], last }
  })
  const others = (widths.size === 0 ? chosen : chosen.filter(job => !widths.has(job))).map(
    secondsOf,
  )
  for (const one of others.sort((a, b) => b.seconds - a.seconds)) {
    let lane = lanes[0] as (typeof lanes)[number]
    for (const other of lanes) if (other.load < lane.load) lane = other
    lane.jobs.push(one)
    lane.load += one.seconds
  }
  const stage = (order: 1 | -1): Stage => ({
    width,
    lanes: lanes.map(lane => {
      const sorted = lane.jobs.sort((a, b) => (a.seconds - b.seconds) * order || a.job - b.job)
      const numbers = sorted.map(({ job }) => job)
      if (lane.last !== undefined) numbers.push(lane.last)
      return numbers
    }),
    ...(demanding.length === 0 ? {} : { widths }),
  })
  const hasOneOrder = lanes.every(lane => lane.jobs.length < 2)
  return hasOneOrder ? [stage(1)] : [stage(1), stage(-1)]
}

/** A job, and how long it takes. */
interface Sized {
  readonly job: number
  readonly seconds: number
}

/**
 * As many of all jobs as surely end in one stage of this width, and those that have to go in
 * narrower ones.
 */
export function mostAtOnce(
  jobs: readonly Job[],
  width: number,
): { readonly chosen: number[]; readonly left: number[] } {
  const numbers = [...jobs.keys()].filter(job => !jobs[job]?.isAlone)
  const left = [...jobs.keys()].filter(job => jobs[job]?.isAlone)
  const demanding = demandingOf(jobs, width, numbers) ?? []
  while (!endInTurn(demanding)) left.push((demanding.pop() as Demanding).job)
  return { chosen: numbers.filter(job => !left.includes(job)), left }
}

/** Those that need a larger share, the one first that needs the smallest. */
function demandingOf(
  jobs: readonly Job[],
  width: number,
  chosen: readonly number[],
): Demanding[] | undefined {
  const found: Demanding[] = []
  for (const number of chosen) {
    const job = jobs[number]
    if (width > 1 && job?.isAlone) return undefined
    if (ends(job, width)) continue
    let own = width - 1
    while (own > 0 && !ends(job, own)) own--
    if (own === 0) return undefined
    found.push({ job: number, width: own })
  }
  return found.sort((a, b) => b.width - a.width)
}

/** Whether they end one after the other, if each of them is the last of a lane. */
const endInTurn = (demanding: readonly Demanding[]): boolean =>
  demanding.every(({ width }, at) => width >= demanding.length - at)
