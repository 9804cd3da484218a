/**
 * Plays the migrations of a stage, whose lanes share one link. The migrations of a lane run one
 * after the other. All that copy at the same time have equal shares of the link, and one that is
 * preparing uses nothing of it.
 */

/** A migration as a stage sees it. */
export interface Job {
  /** How long it takes beside the copying, before the copying. */
  readonly setupSeconds: number
  /** Whether nothing else can run beside it. */
  readonly isAlone?: boolean
  /**
   * How long it copies if it counts on `width` that copy, and all the time `active` of them do.
   * Infinity if it does not surely end where `width` copy, or gets nowhere where `active` do.
   */
  copySeconds(width: number, active: number): number
}

/** The numbers of the jobs, by lane. */
export interface Stage {
  /** How many lanes a stage may have, on which its shares of the link are reckoned. */
  readonly width: number
  readonly lanes: readonly (readonly number[])[]
  /** The jobs that count on a larger share, with how many copy beside each other then. */
  readonly widths?: ReadonlyMap<number, number>
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
  /** The place of the job that runs, and with how many it counts on copying. */
  at: number
  job: Job | undefined
  counted: number
  begin: number
  /** How long it still prepares. */
  setup: number
  /** The part of its copying that is left. */
  left: number
  /** How long it takes until it has prepared, or is over, if nothing changes. */
  rest: number
}

/** Hears of each job when it is over. */
type Listener = (job: number, begin: number, end: number) => void

/** When the jobs of a stage begin and end, by the number of the job. */
export function playStage(stage: Stage, jobs: readonly Job[]): Map<number, Times> {
  const times = new Map<number, Times>()
  play(stage, jobs, Number.POSITIVE_INFINITY, (job, begin, end) => times.set(job, { begin, end }))
  return times
}

/**
 * How long a stage takes; infinity if one of its jobs does not surely end, or if it takes longer
 * than `most`.
 */
export function stageSeconds(
  stage: Stage,
  jobs: readonly Job[],
  most: number = Number.POSITIVE_INFINITY,
): number {
  return play(stage, jobs, most)
}

/** Loops over objects that are changed in place, because this runs for each division of a fleet. */
function play(
  { width, lanes, widths }: Stage,
  jobs: readonly Job[],
  most: number,
  ended?: Listener,
): number {
  let now = 0
  const running: Lane[] = []
  const start = (lane: Lane): void => {
    const number = lane.jobs[lane.at] ?? -1
    lane.job = jobs[number]
    lane.counted = widths?.get(number) ?? width
    lane.begin = now
    lane.setup = lane.job?.setupSeconds ?? 0
    lane.left = 1
  }
  for (const lane of lanes) {
    if (lane.length === 0) continue
    const one: Lane = {
      jobs: lane,
      at: 0,
      job: undefined,
      counted: width,
      begin: 0,
      setup: 0,
      left: 1,
      rest: 0,
    }
    start(one)
    running.push(one)
  }
  while (running.length > 0) {
    let active = 0
    for (const { setup } of running) if (!(setup > 0)) active++
    let step = Number.POSITIVE_INFINITY
    for (const lane of running) {
      lane.rest =
        lane.setup > 0 ? lane.setup : lane.left * (lane.job?.copySeconds(lane.counted, active) ?? 0)
      if (lane.rest < step) step = lane.rest
    }
    now += step
    if (!Number.isFinite(step) || now > most) return Number.POSITIVE_INFINITY
    for (let index = running.length - 1; index >= 0; index--) {
      const lane = running[index] as Lane
      const isOver = lane.rest - step <= OVER * now
      if (lane.setup > 0) lane.setup = isOver ? 0 : lane.setup - step
      else if (!isOver) lane.left -= (step / lane.rest) * lane.left
      else {
        ended?.(lane.jobs[lane.at] ?? -1, lane.begin, now)
        lane.at++
        if (lane.at >= lane.jobs.length) running.splice(index, 1)
        else start(lane)
      }
    }
  }
  return now
}
