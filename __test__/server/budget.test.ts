/**
 * The budget: what many targets take together, by the kernel's own count of this process, and who
 * is measured how often. The targets are played ones that need a known time of the CPU.
 */

import { setMaxListeners } from 'node:events'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { Budget } from '../../ts/server/budget.js'
import { CpuTime } from '../../ts/server/cpu-time.js'
import { hostPace, type Pace } from '../../ts/server/pace.js'
import { Rounds, type RoundsListener } from '../../ts/server/rounds.js'
import type { Target } from '../../ts/targets/target.js'

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Uses so much of a CPU. */
function burn(ms: number): void {
  const from = cpuMs()
  while (cpuMs() - from < ms);
}

interface Group {
  readonly targets: number
  readonly everyMs: number
}

/** When a test has seen enough, from how often each target was measured. */
type End = (counts: readonly number[][]) => Promise<unknown>

const lasting =
  (ms: number): End =>
  () =>
    sleep(ms)

/** Each target was measured so often. */
const eachHas =
  (rounds: number): End =>
  async counts => {
    while (counts.flat().some(count => count < rounds)) await sleep(10)
  }

/**
 * Measures targets until the end, each with `costMs` of CPU time. Returns how often each was
 * measured, group by group.
 */
async function measured(
  pace: Pace,
  end: End,
  costMs: number,
  groups: readonly Group[],
): Promise<number[][]> {
  const counts = groups.map(({ targets }) => Array.from({ length: targets }, () => 0))
  const stop = new AbortController()
  setMaxListeners(0, stop.signal)
  const running = groups.flatMap(({ targets, everyMs }, group) =>
    Array.from({ length: targets }, (_, at) => {
      const target = {
        describe: async () => ({}),
        measureDirtyRate: async () => {
          burn(costMs)
          return {}
        },
        close: async () => {},
      } as unknown as Target
      const ofGroup = counts[group] as number[]
      const listener = {
        described() {},
        measured() {
          ofGroup[at] = (ofGroup[at] ?? 0) + 1
        },
      } as unknown as RoundsListener
      const plan = { everyMs, offsetMs: (everyMs * at) / targets, measuring: {} }
      return new Rounds(async () => target, { ...plan, opensWhenDue: true }, listener, pace).run(
        stop.signal,
      )
    }),
  )
  await end(counts)
  stop.abort()
  await Promise.all(running)
  return counts
}

const sum = (counts: readonly number[]): number => counts.reduce((all, one) => all + one, 0)
const FOR_MS = 5_000
const COST_MS = 1

describe('a budget', () => {
  it('is kept by 1,000 targets that would take ten times as much', {
    timeout: 60_000,
  }, async () => {
    const share = 0.2
    const budget = new Budget(share, () => new CpuTime(false).spentMs())
    const [usedFrom, from] = [cpuMs(), performance.now()]
    const groups = [{ targets: 1000, everyMs: 500 }]
    const counts = await measured(budget, lasting(FOR_MS), COST_MS, groups)
    const [used, passed] = [cpuMs() - usedFrom, performance.now() - from]
    // What is spent is read every 20 ms, in which one CPU can be used whole. Making the targets,
    // and ending them, is no round: it is what they need without any.
    const [idleFrom, noTime] = [cpuMs(), lasting(1)]
    await measured(hostPace, noTime, 0, [{ targets: 1000, everyMs: 3_600_000 }])
    const idle = cpuMs() - idleFrom
    expect(used).toBeLessThan(share * passed + 20 + COST_MS + idle)
    // It is also used, by the rounds and by the timers and promises that they need.
    expect(sum(counts.flat())).toBeGreaterThan(0)
    expect(used - idle).toBeGreaterThan((share * passed) / 2)
    expect(budget.stretch()).toBeGreaterThan(5)
  })

  it('makes all periods longer by the same factor', { timeout: 60_000 }, async () => {
    const budget = new Budget(0.2, () => new CpuTime(false).spentMs())
    const groups = [
      { targets: 50, everyMs: 100 },
      { targets: 50, everyMs: 300 },
    ]
    const [often = [], rarely = []] = await measured(budget, eachHas(4), COST_MS, groups)
    // Each target of a group has its turn before another one has its next.
    for (const counts of [often, rarely])
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
    // The whole periods of 300 ms that have begun have three of 100 ms in them, or one that is cut
    // at either end.
    expect(Math.min(...often)).toBeGreaterThanOrEqual(3 * (Math.min(...rarely) - 1))
    expect(Math.max(...often)).toBeLessThanOrEqual(3 * Math.max(...rarely) + 1)
  })

  it('does nothing to those that need less', { timeout: 60_000 }, async () => {
    const budget = new Budget(1, () => new CpuTime(false).spentMs())
    const counts = await measured(budget, lasting(2_000), COST_MS, [{ targets: 10, everyMs: 200 }])
    // 100 are due. A busy host is late for some of them, but not for half.
    expect(sum(counts.flat())).toBeGreaterThan(50)
  })

  it('pays for what something else has spent before anybody begins', async () => {
    let spent = 0
    const budget = new Budget(0.5, () => spent)
    const signal = new AbortController().signal
    await budget.pause(30, signal)
    spent += 200
    const from = performance.now()
    await budget.pause(30, signal)
    // 200 ms of CPU are half of 400 ms, less what was saved in the 30 ms before.
    expect(performance.now() - from).toBeGreaterThan(400 - 30 - 1)
  })
})

describe('the CPU time of serving', () => {
  it('is that of this process', () => {
    const time = new CpuTime(false)
    const [before, own] = [time.spentMs(), cpuMs()]
    burn(50)
    const spent = time.spentMs() - before
    expect(spent).toBeGreaterThanOrEqual(50)
    expect(spent).toBeLessThanOrEqual(cpuMs() - own)
  })
})
