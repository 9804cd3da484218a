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

function run({ kind, profile, chunks, ratio, downtime }: Case): {
  simulated: Simulated
  guest: Guest
  memory: Memory
} {
  const memory = { chunks, chunkPages: PAGES / chunks }
  const guest = KINDS[kind]?.(memory, ratio * LINK)
  if (guest === undefined) throw new Error(kind)
  const simulated = simulate({
    profile: profileOf(profile, memory),
    pages: PAGES,
    chunkPages: memory.chunkPages,
    pagesPerSecond: LINK,
    thresholdPages: LINK * downtime,
    writer: guest.writer(),
    patience: 120,
  })
  return { simulated, guest, memory }
}

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

/** What the prediction says wrongly; undefined if it is right. */
function fault(
  { verdict, totalMs }: MigrationPrediction,
  { converged, seconds }: Simulated,
  tolerance: number,
): string | undefined {
  if (verdict === 'uncertain') return undefined
  if ((verdict === 'converges') !== converged) return `${verdict}, but ${converged}`
  if (!converged) return undefined
  const ms = seconds * 1000
  const { value, low, high } = totalMs
  const isNear = value !== null && Math.abs(value / ms - 1) <= tolerance
  const isWithin = low !== null && low <= ms && (high === null || ms <= high)
  return isNear || isWithin ? undefined : `${low} .. ${value} .. ${high} ms, but ${ms}`
}

/** Compares all cases; the answers of each kind. */
function compare(
  curveOf: (guest: Guest, memory: Memory) => PredictionCurve,
  tolerance: number,
): { faults: string[]; counts: Record<string, number> } {
  const faults: string[] = []
  const counts = { converges: 0, stalls: 0, uncertain: 0 }
  for (const one of cases) {
    const { simulated, guest, memory } = simulatedCase(one)
    const prediction = predicted(curveOf(guest, memory), one, memory)
    counts[prediction.verdict]++
    const wrong = fault(prediction, simulated, tolerance)
    if (wrong !== undefined) faults.push(`${JSON.stringify(one)}: ${wrong}`)
  }
  return { faults, counts }
}

const known = new Map<Case, ReturnType<typeof run>>()

/** Each case is simulated once. */
function simulatedCase(one: Case): ReturnType<typeof run> {
  const made = known.get(one) ?? run(one)
  known.set(one, made)
  return made
}

/** The part of the cases that may have no answer: an answer that is never given is never wrong. */
const MOST_UNCERTAIN = { regions: 0.2, total: 0.25, sampled: 0.45 }
const uncertain = (counts: Record<string, number>): number => (counts.uncertain ?? 0) / cases.length

it('agrees with the simulation, by the exact curve of each region', () => {
  const { faults, counts } = compare((guest, memory) => exactCurve(guest, memory, true), 0.03)
  expect(faults).toEqual([])
  expect(uncertain(counts)).toBeLessThan(MOST_UNCERTAIN.regions)
})

it('agrees with the simulation, by the exact curve of the whole memory', () => {
  const { faults, counts } = compare((guest, memory) => exactCurve(guest, memory, false), 0.03)
  expect(faults).toEqual([])
  expect(uncertain(counts)).toBeLessThan(MOST_UNCERTAIN.total)
})

it('agrees with the simulation, by a sampled curve', () => {
  const { faults, counts } = compare(
    (guest, memory) => sampledCurve(exactCurve(guest, memory, false), 2048, 17),
    0.03,
  )
  expect(faults).toEqual([])
  expect(uncertain(counts)).toBeLessThan(MOST_UNCERTAIN.sampled)
})
