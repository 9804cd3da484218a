/**
 * The prediction and the simulation of single pages give the same answer. The curve is the exact
 * one of the guest that the simulation runs, or what page sampling would make of it.
 */

import { expect, it, vi } from 'vitest'
import { type MigrationPrediction, predictMigration } from '../../ts/prediction/index.js'
import type { PredictionCurve } from '../../ts/prediction/input.js'
import { wilson } from '../../ts/prediction/normal.js'
import { parseProfile } from '../../ts/prediction/profiles.js'
import { type Simulated, simulate } from './simulator.js'
import {
  both,
  type Guest,
  type Memory,
  packedPages,
  randomFrom,
  recorded,
  shuffled,
  spreadPages,
  stride,
  uniform,
} from './writers.js'

const isFull = process.env.DIRTYRATE_TEST_FULL === '1'

/** A busy machine needs several times as long as a quiet one. */
vi.setConfig({ testTimeout: isFull ? 3_600_000 : 240_000 })

const PAGE = 4096
const PAGES = isFull ? 8192 : 4096
/** The sizes of the sets below are for this many pages. */
const SCALE = PAGES / 8192
const pages = (count: number): number => Math.round(count * SCALE)
/** Pages per second, so that the first pass takes 8 s. */
const LINK = PAGES / 8
/** A profile's chunk is a region of this memory, which is smaller than a real one. */
const profileOf = (name: string, memory: Memory) =>
  parseProfile({
    ...parseProfile(name),
    headerBytes: 0,
    zeroPageBytes: 0,
    ...(name === 'qemu' ? { clearing: { chunkBytes: memory.chunkPages * PAGE } } : {}),
  })

const KINDS: Readonly<Record<string, (memory: Memory, rate: number) => Guest>> = {
  uniform: (memory, rate) => uniform(memory, spreadPages(memory, pages(4096)), rate, 1),
  'hot and cold': (memory, rate) =>
    both(
      'hot and cold',
      uniform(memory, spreadPages(memory, pages(256), 3), rate * 0.8, 1),
      uniform(memory, spreadPages(memory, pages(6000), 1), rate * 0.2, 2),
    ),
  'hot and cold, packed': (memory, rate) =>
    both(
      'hot and cold, packed',
      uniform(memory, packedPages(pages(500), pages(1500)), rate * 0.7, 5),
      uniform(memory, packedPages(pages(4000), pages(3000)), rate * 0.3, 6),
    ),
  stride: (memory, rate) => stride(memory, spreadPages(memory, pages(4096)), rate),
  'stride, packed': (memory, rate) => stride(memory, packedPages(pages(500), pages(3000)), rate),
  'stride, shuffled': (memory, rate) =>
    stride(memory, shuffled(spreadPages(memory, pages(4096)), 3), rate),
  recorded: (memory, rate) => recorded(memory, PAGES, rate),
}

const range = (count: number, from: number, to: number): number[] =>
  Array.from({ length: count }, (_, at) => from * (to / from) ** (at / (count - 1)))

const WINDOWS = range(60, 0.01, 60)

/** The exact curve of a guest, with or without its regions. */
function exactCurve(guest: Guest, memory: Memory, hasRegions: boolean): PredictionCurve {
  const columns = guest.chunks.map(of =>
    // The sum of two sets of pages may be larger than all pages by rounding.
    WINDOWS.map(seconds => Math.min(of(seconds), memory.chunkPages)),
  )
  const points = WINDOWS.map((seconds, at) => {
    const pages = columns.reduce((sum, column) => sum + (column[at] ?? 0), 0)
    const bytesPerSecond = (pages * PAGE) / seconds
    const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
    return { windowNs: seconds * 1e9, pages, bytesPerSecond, interval }
  })
  const regions = columns.map((pages, chunk) => ({
    block: 'ram',
    offset: chunk * memory.chunkPages * PAGE,
    bytes: memory.chunkPages * PAGE,
    pages,
  }))
  return {
    pageSize: PAGE,
    points,
    memory: { bytes: PAGES * PAGE },
    ...(hasRegions ? { regions } : {}),
  }
}

/** What page sampling makes of a curve, if it looks at `samples` pages. */
function sampledCurve(curve: PredictionCurve, samples: number, seed: number): PredictionCurve {
  const random = randomFrom(seed)
  // Each sample is first seen dirty at a time of its own, so that the points are nested.
  const shares = Array.from({ length: samples }, random)
  const points = curve.points.map(({ windowNs, pages = 0 }) => {
    const hits = shares.filter(share => share < pages / PAGES).length
    const rate = (share: number): number => (share * PAGES * PAGE) / (windowNs / 1e9)
    const [low, high] = wilson(hits, samples, 0.95).map(rate)
    return {
      windowNs,
      pages: (hits / samples) * PAGES,
      bytesPerSecond: rate(hits / samples),
      interval: { low: low ?? 0, high: high ?? null, confidence: 0.95 },
    }
  })
  const { regions: _, ...rest } = curve
  return { ...rest, points }
}

interface Case {
  kind: string
  profile: string
  chunks: number
  ratio: number
  downtime: number
}

const product = (
  kinds: readonly string[],
  profiles: readonly string[],
  chunks: readonly number[],
  ratios: readonly number[],
  downtimes: readonly number[],
): Case[] =>
  kinds.flatMap(kind =>
    profiles.flatMap(profile =>
      chunks.flatMap(count =>
        ratios.flatMap(ratio =>
          downtimes.map(downtime => ({ kind, profile, chunks: count, ratio, downtime })),
        ),
      ),
    ),
  )

/** A few hundred of the combinations, and in the full run some thousand. */
const cases = isFull
  ? product(
      Object.keys(KINDS),
      ['qemu', 'cloud-hypervisor'],
      [1, 2, 4, 16, 64],
      range(9, 0.2, 4),
      range(7, 0.01, 5),
    )
  : [
      ...product(Object.keys(KINDS), ['qemu'], [1, 4, 64], [0.4, 0.8, 1.4, 4], [0.01, 0.5, 2]),
      ...product(['uniform', 'stride'], ['cloud-hypervisor'], [4], [0.3, 0.8, 1.4], [0.5, 2]),
    ]

function run(one: Case): { simulated: Simulated; guest: Guest; memory: Memory } {
  const memory = { chunks: one.chunks, chunkPages: PAGES / one.chunks }
  const guest = KINDS[one.kind]?.(memory, one.ratio * LINK)
  if (guest === undefined) throw new Error(one.kind)
  return { simulated: simulatedOf(one, guest, memory), guest, memory }
}

const simulatedOf = (
  { profile, downtime }: Pick<Case, 'profile' | 'downtime'>,
  guest: Guest,
  memory: Memory,
): Simulated =>
  simulate({
    profile: profileOf(profile, memory),
    pages: PAGES,
    chunkPages: memory.chunkPages,
    pagesPerSecond: LINK,
    thresholdPages: LINK * downtime,
    writer: guest.writer(),
    patience: 120,
  })

const predicted = (
  curve: PredictionCurve,
  { profile, downtime }: Case,
  memory: Memory,
): MigrationPrediction =>
  predictMigration(curve, {
    bandwidth: LINK * PAGE,
    downtime: downtime * 1000,
    profile: profileOf(profile, memory),
  })

/**
 * What the prediction says wrongly; undefined if it is right. The time has to be within the bounds
 * that the prediction itself gives.
 */
function fault(
  { verdict, totalMs }: MigrationPrediction,
  { converged, seconds }: Simulated,
): string | undefined {
  if (verdict === 'uncertain') return undefined
  if ((verdict === 'converges') !== converged) return `${verdict}, but ${converged}`
  if (!converged) return undefined
  const ms = seconds * 1000
  const { value, low, high } = totalMs
  const isWithin = low !== null && low <= ms && (high === null || ms <= high)
  return isWithin && value !== null ? undefined : `${low} .. ${value} .. ${high} ms, but ${ms}`
}

/** How far the most probable time is off, as a part of the time that the simulation took. */
function errorOf({ totalMs: { value } }: MigrationPrediction, { seconds }: Simulated): number {
  return Math.abs((value ?? Number.POSITIVE_INFINITY) / (seconds * 1000) - 1)
}

/** The guests that go through their pages in the order of their addresses. */
const SWEEPS: readonly string[] = ['stride', 'stride, packed']

/** Compares all cases. */
function compare(curveOf: (guest: Guest, memory: Memory) => PredictionCurve): {
  faults: string[]
  /** The part of the cases that have no answer. */
  uncertain: number
  /** The errors of the most probable time, where a curve tells it: of all guests but sweeps. */
  errors: number[]
} {
  const faults: string[] = []
  const errors: number[] = []
  let uncertain = 0
  for (const one of cases) {
    const { simulated, guest, memory } = simulatedCase(one)
    const prediction = predicted(curveOf(guest, memory), one, memory)
    if (prediction.verdict === 'uncertain') uncertain++
    const wrong = fault(prediction, simulated)
    if (wrong !== undefined) faults.push(`${JSON.stringify(one)}: ${wrong}`)
    if (prediction.verdict === 'converges' && !SWEEPS.includes(one.kind))
      errors.push(errorOf(prediction, simulated))
  }
  return { faults, uncertain: uncertain / cases.length, errors }
}

const known = new Map<Case, ReturnType<typeof run>>()

/** Each case is simulated once. */
function simulatedCase(one: Case): ReturnType<typeof run> {
  const made = known.get(one) ?? run(one)
  known.set(one, made)
  return made
}

/** The part of the cases that may have no answer: an answer that is never given is never wrong. */
const MOST_UNCERTAIN = { regions: 0.05, total: 0.15, sampled: 0.4 }
/** How far off the most probable time is to be at most, and the part of the cases that are so. */
const NEAR = 0.03
const LEAST_NEAR = { regions: 0.9, total: 0.8, sampled: 0.7 }
const near = (errors: readonly number[]): number =>
  errors.filter(error => error <= NEAR).length / errors.length

it('agrees with the simulation, by the exact curve of each region', () => {
  const { faults, uncertain, errors } = compare((guest, memory) => exactCurve(guest, memory, true))
  expect(faults).toEqual([])
  expect(uncertain).toBeLessThan(MOST_UNCERTAIN.regions)
  expect(near(errors)).toBeGreaterThan(LEAST_NEAR.regions)
})

it('agrees with the simulation, by the exact curve of the whole memory', () => {
  const { faults, uncertain, errors } = compare((guest, memory) => exactCurve(guest, memory, false))
  expect(faults).toEqual([])
  expect(uncertain).toBeLessThan(MOST_UNCERTAIN.total)
  expect(near(errors)).toBeGreaterThan(LEAST_NEAR.total)
})

it('agrees with the simulation, by a sampled curve', () => {
  const { faults, uncertain, errors } = compare((guest, memory) =>
    sampledCurve(exactCurve(guest, memory, false), 2048, 17),
  )
  expect(faults).toEqual([])
  expect(uncertain).toBeLessThan(MOST_UNCERTAIN.sampled)
  expect(near(errors)).toBeGreaterThan(LEAST_NEAR.sampled)
})

/** How many pages are dirty is a matter of chance, and at the edge one good moment is enough. */
it('does not say of a migration that it stalls if it ends by chance', () => {
  const memory = { chunks: 64, chunkPages: PAGES / 64 }
  const one: Case = {
    kind: 'hot and cold',
    profile: 'qemu',
    chunks: 64,
    ratio: 1.3,
    // Where some guests end and others do not: more pages differ less from their mean.
    downtime: isFull ? 0.08 : 0.075,
  }
  const ended: boolean[] = []
  for (let seed = 1; seed <= 8; seed++) {
    const guest = both(
      one.kind,
      uniform(memory, spreadPages(memory, pages(256), 3), one.ratio * LINK * 0.8, seed),
      uniform(memory, spreadPages(memory, pages(6000), 1), one.ratio * LINK * 0.2, 100 + seed),
    )
    ended.push(simulatedOf(one, guest, memory).converged)
    for (const hasRegions of [true, false])
      expect(predicted(exactCurve(guest, memory, hasRegions), one, memory).verdict).toBe(
        'uncertain',
      )
  }
  expect(new Set(ended)).toEqual(new Set([true, false]))
})

/**
 * The same sweep, seen by the same curve, in either direction and from different places: the time
 * depends on where the sweep is when the migration begins, which no curve tells.
 */
it.each([
  [4, 0.5],
  [64, 2],
])('has bounds for a sweep wherever it begins: %d chunks, downtime %d s', (chunks, downtime) => {
  const memory = { chunks, chunkPages: PAGES / chunks }
  const one: Case = { kind: 'stride', profile: 'qemu', chunks, ratio: 0.8, downtime }
  const up = spreadPages(memory, pages(4096))
  const times: number[] = []
  for (const order of [up, up.toReversed()]) {
    for (let begin = 0; begin < 8; begin++) {
      const first = (begin * order.length) / 8
      const set = [...order.slice(first), ...order.slice(0, first)]
      const guest = stride(memory, set, one.ratio * LINK)
      const simulated = simulatedOf(one, guest, memory)
      const prediction = predicted(exactCurve(guest, memory, true), one, memory)
      expect(fault(prediction, simulated)).toBeUndefined()
      times.push(simulated.seconds)
    }
  }
  // No single value is near all of them, and the most probable one is between them.
  expect(Math.max(...times) / Math.min(...times)).toBeGreaterThan(1.5)
  const { value } = predicted(
    exactCurve(stride(memory, up, one.ratio * LINK), memory, true),
    one,
    memory,
  ).totalMs
  expect(value).toBeGreaterThan(1000 * Math.min(...times))
  expect(value).toBeLessThan(1000 * Math.max(...times))
})
