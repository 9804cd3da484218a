/**
 * Plays the migrations of several VMs over one link page by page, in an order that is given: slow
 * and obvious, the oracle of a plan.
 */

import type { PlanMethod } from '../../ts/prediction/index.js'
import type { MigrationProfile } from '../../ts/prediction/profiles.js'
import { type Given, migrating, type Progress, type Simulated } from './simulator.js'
import type { Writer } from './writers.js'

/** One VM, and how it goes. */
export interface HostJob {
  pages: number
  chunkPages: number
  writer: Writer
  method: PlanMethod
  /** The downtime that it may take, in seconds. */
  downtime: number
  /** What it may carry at most, in pages per second. */
  most: number
}

export interface Host {
  profile: MigrationProfile
  /** What the link carries, in pages per second. */
  link: number
  /** What each migration takes before it begins to copy, in seconds. */
  overhead: number
  /** A migration that copies for longer is given up, in seconds. */
  patience: number
  /** One stage after the other; in each of them lanes beside each other, with one job at a time. */
  stages: readonly (readonly (readonly HostJob[])[])[]
}

/** How a job went, in seconds from the beginning. */
export interface Left {
  job: HostJob
  begin: number
  end: number
  went: boolean
  sentPages: number
}

/** A job that is running. */
interface Running {
  lane: number
  job: HostJob
  begin: number
  /** When it begins to copy. */
  copies: number
  /** When it asks for its next page. */
  now: number
  run: Generator<Progress, Simulated, Given>
  passes: number
}

export function simulateHost(host: Host): Left[] {
  let now = 0
  return host.stages.flatMap(lanes => {
    const left = playStage(host, lanes, now)
    now = Math.max(now, ...left.map(({ end }) => end))
    return left
  })
}

function playStage(host: Host, lanes: readonly (readonly HostJob[])[], begin: number): Left[] {
  const waiting = lanes.map(lane => [...lane])
  const left: Left[] = []
  const running = new Set<Running>()
  const next = (lane: number, at: number): void => {
    const job = waiting[lane]?.shift()
    if (job === undefined) return
    const copies = at + host.overhead
    running.add({ lane, job, begin: at, copies, now: copies, run: start(host, job), passes: 1 })
  }
  for (const lane of lanes.keys()) next(lane, begin)
  while (running.size > 0) {
    const one = [...running].reduce((first, other) => (other.now < first.now ? other : first))
    const copying = [...running].filter(({ copies }) => copies <= one.now)
    const all = copying.map(({ job }) => job.most)
    const pagesPerSecond = shareOf(one.job.most, all, host.link)
    const given = { pagesPerSecond, thresholdPages: threshold(one, pagesPerSecond) }
    const step = one.run.next(given)
    if (step.done === true) {
      const { converged, seconds, sentPages } = step.value
      const end = one.copies + seconds
      left.push({ job: one.job, begin: one.begin, end, went: converged, sentPages })
      running.delete(one)
      next(one.lane, end)
    } else {
      one.passes = step.value.passes
      one.now = one.copies + step.value.seconds
    }
  }
  return left
}

const start = ({ profile, patience }: Host, job: HostJob) =>
  migrating({
    profile,
    pages: job.pages,
    chunkPages: job.chunkPages,
    writer: job.writer,
    patience,
    // What a job is given before it asks for its first page.
    pagesPerSecond: job.most,
    thresholdPages: job.method === 'shutdown' ? Number.POSITIVE_INFINITY : 0,
  })

/**
 * What one of those on the link may send: no more than it may carry, and of the rest of the link as
 * much as each of the others. `all` has what each of them may carry.
 */
function shareOf(most: number, all: readonly number[], link: number): number {
  let [rest, count] = [link, all.length]
  for (const limit of [...all].sort((a, b) => a - b)) {
    if (limit >= rest / count) return Math.min(most, rest / count)
    rest -= limit
    count--
  }
  return most
}

function threshold({ job, passes }: Running, pagesPerSecond: number): number {
  switch (job.method) {
    case 'shutdown':
      return Number.POSITIVE_INFINITY
    // The guest goes on at the destination after the first pass, whatever is left.
    case 'post-copy':
      return passes > 1 ? Number.POSITIVE_INFINITY : 0
    default:
      return pagesPerSecond * job.downtime
  }
}
