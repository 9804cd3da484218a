/**
 * Plays the migrations of a stage, whose lanes share one link. The migrations of a lane run one
 * after the other. All that copy at the same time have equal shares of the link, and one that is
 * preparing uses nothing of it.
 */

/** A migration as a stage sees it. */
export interface Job {
  /** How long it takes beside the copying, before the copying. */
  readonly setupSeconds: number
  /**
   * How long it copies in a stage of `width` lanes, if all the time `active` of them copy. Infinity
   * if it does not surely end where all lanes copy.
   */
  copySeconds(width: number, active: number): number
}

/** The numbers of the jobs, by lane. */
export interface Stage {
  /** How many lanes a stage may have, on which its shares of the link are reckoned. */
  readonly width: number
  readonly lanes: readonly (readonly number[])[]
}

/** When a job begins and ends, in seconds from the beginning of its stage. */
export interface Times {
  readonly begin: number
  readonly end: number
}

/** What is left of a part that is over but for rounding. */
const OVER = 1e-12

interface Lane {
  readonly jobs: readonly number[]
  /** The place of the job that runs. */
  at: number
  begin: number
  /** How long it still prepares. */
  setup: number
  /** The part of its copying that is left. */
  left: number
}

/** When the jobs of a stage begin and end, by the number of the job. */
export function playStage({ width, lanes }: Stage, jobs: readonly Job[]): Map<number, Times> {
  const times = new Map<number, Times>()
  let now = 0
  const begin = (lane: Lane): Lane => {
    const job = jobs[lane.jobs[lane.at] ?? -1]
    return Object.assign(lane, { begin: now, setup: job?.setupSeconds ?? 0, left: 1 })
  }
  let running = lanes
    .filter(lane => lane.length > 0)
    .map(lane => begin({ jobs: lane, at: 0, begin: 0, setup: 0, left: 1 }))
  while (running.length > 0) {
    const active = running.reduce((count, { setup }) => count + (setup > 0 ? 0 : 1), 0)
    const copy = ({ jobs: numbers, at }: Lane): number =>
      jobs[numbers[at] ?? -1]?.copySeconds(width, active) ?? 0
    const rest = running.map(lane => (lane.setup > 0 ? lane.setup : lane.left * copy(lane)))
    const step = Math.min(...rest)
    if (!Number.isFinite(step)) break
    now += step
    for (const [index, lane] of running.entries()) {
      const over = (rest[index] ?? 0) - step <= OVER * now
      if (lane.setup > 0) lane.setup = over ? 0 : lane.setup - step
      else if (over) {
        times.set(lane.jobs[lane.at] ?? -1, { begin: lane.begin, end: now })
        lane.at++
        begin(lane)
      } else lane.left -= step / copy(lane)
    }
    running = running.filter(({ jobs: numbers, at }) => at < numbers.length)
  }
  return times
}

/** How long a stage takes; infinity if one of its jobs does not surely end. */
export function stageSeconds(stage: Stage, jobs: readonly Job[]): number {
  const times = [...playStage(stage, jobs).values()]
  const all = stage.lanes.reduce((count, lane) => count + lane.length, 0)
  if (times.length < all) return Number.POSITIVE_INFINITY
  return times.reduce((most, { end }) => Math.max(most, end), 0)
}
