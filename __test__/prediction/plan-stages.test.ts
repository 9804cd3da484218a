/** How migrations are divided into stages, beside all divisions of a few migrations. */

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type Job, playStage, type Stage } from '../../ts/prediction/plan/lanes.js'
import { divide, secondsOf } from '../../ts/prediction/plan/stages.js'

/** A migration that has so much to send, and ends only in stages that are narrow enough. */
interface Known extends Job {
  work: number
  widest: number
}

/** What each of `active` migrations has of a link that carries 1, if each may carry `most`. */
const rate = (active: number, most: number): number => Math.min(most, 1 / active)

const jobOf = (work: number, setupSeconds: number, widest: number, most: number): Known => ({
  work,
  widest,
  setupSeconds,
  copySeconds: (width, active) =>
    width > widest ? Number.POSITIVE_INFINITY : work / rate(active, most),
})

/** Small steps through time: slow and obvious. */
function playedInSteps(lanes: readonly (readonly Known[])[], most: number, step: number): number {
  const queues = lanes.map(lane => lane.map(({ setupSeconds, work }) => ({ setupSeconds, work })))
  let now = 0
  for (; queues.some(queue => queue.length > 0); now += step) {
    const first = queues.flatMap(queue => queue.slice(0, 1))
    const copying = first.filter(({ setupSeconds }) => setupSeconds <= 0)
    for (const one of first) {
      if (copying.includes(one)) one.work -= step * rate(copying.length, most)
      else one.setupSeconds -= step
    }
    for (const queue of queues) if ((queue[0]?.work ?? 1) <= 0) queue.shift()
  }
  return now
}

/** All ways to divide the jobs into lanes of stages of these widths, in every order. */
function* allDivisions(count: number, widths: readonly number[]): Generator<Stage[]> {
  const lanes = widths.flatMap(width => Array.from({ length: width }, () => ({ width })))
  const places = [...Array(lanes.length ** count).keys()]
  for (const order of permutations([...Array(count).keys()])) {
    for (const place of places) {
      const made: number[][] = lanes.map(() => [])
      order.forEach((job, at) => {
        made[Math.floor(place / lanes.length ** at) % lanes.length]?.push(job)
      })
      yield widths
        .map(width => ({
          width,
          lanes: made.filter((lane, at) => lanes[at]?.width === width && lane.length > 0),
        }))
        .filter(stage => stage.lanes.length > 0)
    }
  }
}

/**
 * Every migration of a stage surely ends: whichever of those that run makes no progress because its
 * share is too small, another one has enough, until all are over.
 */
function expectSure({ width, lanes }: Stage, all: readonly Known[]): void {
  expect(lanes.length).toBeLessThanOrEqual(width)
  const queues = lanes.map(lane => lane.map(job => all[job]?.widest ?? 0))
  // In the worst case the one with the smallest need of those that can end is the last to end.
  const explored = new Set<string>()
  const explore = (at: readonly number[]): void => {
    const key = at.join()
    if (explored.has(key)) return
    explored.add(key)
    const running = at.flatMap((place, lane) => (place < (queues[lane]?.length ?? 0) ? [lane] : []))
    if (running.length === 0) return
    const share = running.length === lanes.length ? width : running.length
    const sure = running.filter(lane => (queues[lane]?.[at[lane] ?? 0] ?? 0) >= share)
    expect(sure.length).toBeGreaterThan(0)
    for (const lane of sure) explore(at.map((place, one) => (one === lane ? place + 1 : place)))
  }
  if (lanes.flat().length <= 12) explore(lanes.map(() => 0))
}

function permutations(numbers: readonly number[]): number[][] {
  if (numbers.length < 2) return [[...numbers]]
  return numbers.flatMap(one =>
    permutations(numbers.filter(other => other !== one)).map(rest => [one, ...rest]),
  )
}

const jobs = (least: number, most: number) =>
  fc.record({
    most: fc.constantFrom(1, 0.5, 0.3),
    setup: fc.constantFrom(0, 1, 5),
    list: fc.array(
      fc.record({ work: fc.integer({ min: 1, max: 20 }), widest: fc.constantFrom(1, 2, 3, 3) }),
      { minLength: least, maxLength: most },
    ),
  })

const RUNS = { numRuns: process.env.DIRTYRATE_TEST_FULL === '1' ? 300 : 25 }

it('the lanes of a stage share the link as small steps through time show', () => {
  fc.assert(
    fc.property(jobs(1, 9), fc.integer({ min: 1, max: 3 }), ({ most, setup, list }, width) => {
      const all = list.map(({ work }) => jobOf(work, setup, 3, most))
      const lanes = Array.from({ length: width }, (_, lane) =>
        [...all.keys()].filter(job => job % width === lane),
      )
      const ends = [...playStage({ width, lanes }, all).values()].map(({ end }) => end)
      const step = 0.005
      const slow = playedInSteps(
        lanes.map(lane => lane.flatMap(job => all[job] ?? [])),
        most,
        step,
      )
      // Each job may begin to copy and end a step late, and a share is known a step late.
      expect(Math.abs(Math.max(...ends) - slow)).toBeLessThanOrEqual(4 * step * all.length)
    }),
    { numRuns: 50 },
  )
})

it('no division of a few migrations is shorter', () => {
  fc.assert(
    fc.property(jobs(1, 4), ({ most, setup, list }) => {
      const all = list.map(({ work, widest }) => jobOf(work, setup, widest, most))
      const widths = [1, 2, 3]
      let best = Number.POSITIVE_INFINITY
      for (const stages of allDivisions(all.length, widths))
        best = Math.min(best, secondsOf(stages, all))
      const found = divide(all, widths, 0)
      for (const stage of found) expectSure(stage, all)
      // A migration may wait for its share at the end of a lane, which these divisions do not know.
      expect(secondsOf(found, all)).toBeLessThanOrEqual(best + 1e-6)
    }),
    { ...RUNS, numRuns: Math.min(RUNS.numRuns, 60) },
  )
})

it('many migrations take no longer than one after the other, and each is there once', () => {
  fc.assert(
    fc.property(jobs(5, 40), ({ most, setup, list }) => {
      const all = list.map(({ work, widest }) => jobOf(work, setup, widest, most))
      const stages = divide(all, [1, 2, 3], 0)
      const one = secondsOf([{ width: 1, lanes: [[...all.keys()]] }], all)
      expect(secondsOf(stages, all)).toBeLessThanOrEqual(one * (1 + 1e-9))
      const numbers = stages.flatMap(({ lanes }) => lanes.flat()).sort((a, b) => a - b)
      expect(numbers).toEqual([...all.keys()])
      for (const stage of stages) expectSure(stage, all)
    }),
    RUNS,
  )
})

it('no plan is longer than all migrations at once, however many there are', () => {
  fc.assert(
    fc.property(jobs(5, 40), ({ most, setup, list }) => {
      // Each of them ends beside all others, or as soon as one or two fewer are left.
      const all = list.map(({ work, widest }, at) =>
        jobOf(work, setup, at < 2 ? list.length - (3 - widest) : list.length, most),
      )
      const widths = all.map((_, at) => at + 1)
      const stage = {
        width: all.length,
        lanes: all.map((_, at) => [at]),
        widths: new Map(
          all.flatMap(({ widest }, at) => (widest < all.length ? [[at, widest]] : [])),
        ),
      }
      const atOnce = secondsOf([stage], all)
      expect(secondsOf(divide(all, widths, 0), all)).toBeLessThanOrEqual(atOnce * (1 + 1e-8))
    }),
    { numRuns: 4 * RUNS.numRuns },
  )
})

it('as many lanes as the link has room for take as long as the link needs', () => {
  // Each of the eight migrations can use half of the link, and no time is lost between them.
  const all = Array.from({ length: 8 }, () => jobOf(10, 0, 3, 0.5))
  expect(secondsOf(divide(all, [2, 3], 80), all)).toBeCloseTo(80, 6)
  // Three at a time prepare together for a second, and this three times.
  const prepared = Array.from({ length: 8 }, () => jobOf(10, 1, 3, 1))
  expect(secondsOf(divide(prepared, [1, 2, 3], 81), prepared)).toBeCloseTo(83, 6)
})

it('most migrations of a plan that takes as long leave early', () => {
  const all = [20, 1, 5].map(work => jobOf(work, 0, 1, 1))
  expect(divide(all, [1], 26)).toEqual([{ width: 1, lanes: [[1, 2, 0]] }])
})

it('a migration that needs the whole link waits at the end of a lane for the others', () => {
  // Two lanes prepare beside each other. The last migration surely ends as soon as it is alone.
  const all = [jobOf(4, 5, 2, 1), jobOf(4, 5, 2, 1), jobOf(20, 5, 1, 1)]
  const [stage, ...rest] = divide(all, [1, 2], 0)
  expect(rest).toEqual([])
  expect(stage?.widths).toEqual(new Map([[2, 1]]))
  expect(stage?.lanes.map(lane => lane.at(-1))).toContain(2)
})
