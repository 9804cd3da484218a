/** When each migration of a plan begins and ends. */

import { type Figure, figureOf } from '../figure.js'
import type { Going } from './going.js'
import { type Job, playStage, type Stage, type Times } from './lanes.js'
import type { Offer } from './offers.js'

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

const MS = 1000
const ZERO: Figure = { value: 0, low: 0, high: 0 }

/** The migrations of a plan, and how long all of them take. */
export interface Timetable {
  /** By stage, and in each stage by lane. */
  readonly migrations: readonly PlannedMigration[]
  /** From the first beginning to the last end. */
  readonly totalMs: Figure
}

/** When each migration begins and ends, as is probable, and if all of them take the bounds. */
export function timetable(stages: readonly Stage[], going: readonly Going[]): Timetable {
  const migrations: PlannedMigration[] = []
  let begin = ZERO
  for (const [stage, { width, lanes, widths }] of stages.entries()) {
    const offers = new Map(
      lanes.flat().map(job => [job, going[job]?.offer(widths?.get(job) ?? width)]),
    )
    const played = boundsOf((of): Map<number, Times> => {
      const jobs = going.map((one, job) => scaled(one, offers.get(job), of))
      return playStage({ width, lanes, ...(widths === undefined ? {} : { widths }) }, jobs)
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
    copySeconds: (width, active) => {
      const seconds = one.copySeconds(width, active)
      if (active <= width) return seconds * part
      // With a smaller share than it counts on, at worst nothing is won, and at best nothing lost.
      if (of === 'high') return Number.POSITIVE_INFINITY
      const atBest = one.copySeconds(width, width) * (active / width)
      return (of === 'low' ? Math.min(seconds, atBest) : seconds) * part
    },
  }
}
