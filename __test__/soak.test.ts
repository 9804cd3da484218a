/** Measurements in a row over all modes, in a process that does nothing else: it may not grow. */

import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { run } from './fixtures/command.js'
import { growth, type Sample } from './fixtures/growth.js'
import { describeKvm, full } from './fixtures/kvm.js'
import { modesHere } from './fixtures/modes.js'

const soak = fileURLToPath(new URL('fixtures/soak.mjs', import.meta.url))

/** What has to be noticed, in bytes for each measurement. */
const LEAK = 1024
/** Half of that is either side's share of the noise. */
const LIMIT = LEAK / 2

interface Held {
  done: number
  rss: number
  heap: number
  descriptors: number
  threads: number
}

interface Soak {
  byMode: Record<string, number>
  wrong: unknown[]
  logging: string[]
  seen: Held[]
}

async function soaked(measurements: number, windowMs: number, leak = 0): Promise<Soak> {
  const args = ['--expose-gc', soak, ...[measurements, windowMs, full ? 100 : 40, leak].map(String)]
  const { status, signal, stdout, stderr } = await run(process.execPath, args)
  expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' })
  return JSON.parse(stdout)
}

const of = (seen: readonly Held[], what: 'rss' | 'heap'): Sample[] =>
  seen.map(held => ({ done: held.done, value: held[what] }))

describe('growth', () => {
  const samples = (value: (done: number) => number): Sample[] =>
    Array.from({ length: 100 }, (_, at) => ({ done: at * 100, value: value(at * 100) }))

  it('is the slope of the second half', () => {
    expect(growth(samples(() => 5e7))).toBe(0)
    expect(growth(samples(done => 5e7 + 3 * done))).toBe(3)
    expect(growth(samples(done => 5e7 - 2 * done))).toBe(-2)
    // Caches that have been filled by then are no growth.
    expect(growth(samples(done => 5e7 + 1e4 * Math.min(done, 5000)))).toBe(0)
  })

  it('does not mind a quarter of the samples', () => {
    const wild = (done: number): number => ((done / 100) % 4 === 1 ? 1e9 * Math.sin(done) : 0)
    expect(Math.abs(growth(samples(done => 5e7 + LEAK * done + wild(done))) - LEAK)).toBeLessThan(
      LIMIT,
    )
    expect(Math.abs(growth(samples(done => 5e7 + wild(done))))).toBeLessThan(LIMIT)
  })
})

describeKvm('measurements in a row over all modes', () => {
  // Half a second of windows, or a little more than eight minutes of them.
  const [measurements, windowMs] = full ? [10_000, 50] : [240, 2]

  it(`leave nothing behind, and are all right: ${measurements} of ${windowMs} ms`, {
    timeout: 1_800_000,
  }, async () => {
    const { byMode, wrong, logging, seen } = await soaked(measurements, windowMs)
    expect(Object.keys(byMode).toSorted()).toEqual([...modesHere].toSorted())
    expect(Object.values(byMode).reduce((sum, count) => sum + count, 0)).toBe(measurements)
    expect({ wrong, logging }).toEqual({ wrong: [], logging: [] })
    const [early, late] = [seen[1], seen.at(-1)] as [Held, Held]
    expect(late.descriptors).toBeLessThanOrEqual(early.descriptors)
    expect(late.threads).toBeLessThanOrEqual(early.threads)
    expect(growth(of(seen, 'heap'))).toBeLessThan(LIMIT)
    // In whole pages, and of an allocator that takes many at once: a short run says nothing of it.
    if (full) expect(growth(of(seen, 'rss'))).toBeLessThan(LIMIT)
  })

  it('would not go unnoticed if they left 1 KiB each', { timeout: 600_000 }, async () => {
    const { seen } = await soaked(full ? 10_000 : 240, 1, LEAK)
    expect(growth(of(seen, 'heap'))).toBeGreaterThan(LIMIT)
    if (full) expect(growth(of(seen, 'rss'))).toBeGreaterThan(LIMIT)
  })
})
