/** Plans beside the simulation of single pages of a whole host, and beside simple orders. */

import { describe, expect, it, vi } from 'vitest'
import { byPlan, bySimpleOrder, hostOf, simpleOrders } from './hosts.js'

/** A busy machine needs several times as long as a quiet one. */
vi.setConfig({ testTimeout: 240_000 })

const isFull = process.env.DIRTYRATE_TEST_FULL === '1'
const SEEDS = Array.from({ length: isFull ? 12 : 2 }, (_, at) => at + 1)
/** The model's own error, which docs/prediction.md states. */
const OWN_ERROR = 0.03

/** The part of the link that one migration can use, and how many seconds it prepares. */
const kinds = [
  [1, 0],
  [1, 2],
  [0.4, 0],
  [0.25, 1],
] as const

const played = kinds.flatMap(([perVm, overhead]) =>
  SEEDS.map(seed => {
    const host = hostOf(8 + seed, seed, perVm, overhead)
    return { name: `${perVm} of the link, ${overhead} s, seed ${seed}`, host, ...byPlan(host) }
  }),
)

describe.each(played)('a host: $name', ({ host, plan, played: simulated }) => {
  it('is empty when the plan says so', () => {
    expect(plan.migrations).toHaveLength(host.vms.length)
    expect(simulated.left.filter(({ went }) => !went)).toEqual([])
    const { value, low, high } = plan.totalMs
    const ms = simulated.seconds * 1000
    const isNear = Math.abs(ms / (value ?? 0) - 1) <= OWN_ERROR
    expect(isNear || ((low ?? 0) <= ms && ms <= (high ?? Infinity))).toBe(true)
  })

  // All at once may be sooner on a single host: it takes the risk that some VM never ends.
  it.each(['by size', 'by rate'] as const)('is not emptied sooner one by one, %s', order => {
    const { seconds } = bySimpleOrder(host, order, plan)
    expect(simulated.seconds).toBeLessThanOrEqual(seconds * (1 + OWN_ERROR))
  })
})

it('all hosts together are empty sooner than by each simple order, and the VMs leave sooner', () => {
  const sum = (of: readonly number[]): number => of.reduce((all, one) => all + one, 0)
  const ours = {
    seconds: sum(played.map(one => one.played.seconds)),
    meanSeconds: sum(played.map(one => one.played.meanSeconds)),
  }
  for (const order of Object.keys(simpleOrders) as (keyof typeof simpleOrders)[]) {
    const theirs = played.map(({ host, plan }) => bySimpleOrder(host, order, plan))
    expect(ours.seconds).toBeLessThan(sum(theirs.map(({ seconds }) => seconds)))
    expect(ours.meanSeconds).toBeLessThan(sum(theirs.map(({ meanSeconds }) => meanSeconds)))
  }
})
