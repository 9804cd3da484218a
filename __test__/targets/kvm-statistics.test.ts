/**
 * KVM's statistics of a real QEMU, read from outside of its process: they are those that QEMU
 * gives, and so is the cost that is computed from them.
 */

import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { native } from '../../ts/ground/native.js'
import { workload } from '../../ts/index.js'
import { guestCost, joined, type Spans, type Statistics } from '../../ts/targets/kvm-statistics.js'
import { describeWith } from '../fixtures/kvm.js'
import { startQemu } from '../fixtures/qemu.js'

const VCPUS = 2

/** The sum over all vCPUs of each statistic that has one value. */
function sums(answer: unknown): Record<string, number> {
  const found: Record<string, number> = {}
  for (const { stats } of answer as { stats: { name: string; value: unknown }[] }[]) {
    for (const { name, value } of stats)
      if (!Array.isArray(value)) found[name] = (found[name] ?? 0) + Number(value)
  }
  return found
}

describeWith('qemu-system-x86_64', "KVM's statistics of a QEMU", () => {
  it('are the same from outside as by query-stats, and so are their differences', async () => {
    const guest = await startQemu(workload.stride({ pages: 1000 }), {
      args: ['-smp', String(VCPUS)],
    })
    onTestFinished(() => guest.end())
    await guest.atWork()
    const { qemu } = guest
    const process = new (native().NativeProcess)(qemu.pid)
    onTestFinished(() => process.close())
    /** Both, of a guest that stands still, so that its counters do. */
    const read = async (): Promise<{ outside: Statistics; byQemu: Record<string, number> }> => {
      await qemu.execute('stop')
      const outside = (await process.kvmStatistics()) ?? {}
      const atMs = performance.now()
      const providers = [{ provider: 'kvm' }]
      const byQemu = sums(await qemu.execute('query-stats', { target: 'vcpu', providers }))
      expect(Object.keys(outside).length).toBeGreaterThan(10)
      expect(outside).toEqual(byQemu)
      await qemu.execute('cont')
      return { outside: { atMs, counts: new Map(Object.entries(outside)) }, byQemu }
    }
    const first = await read()
    // Protecting all pages flushes TLBs, also where KVM emulates its guests.
    const measure = { 'calc-time': 1, mode: 'dirty-bitmap' }
    await qemu.execute('calc-dirty-rate', measure)
    await sleep(1500)
    const second = await read()
    const third = await read()

    const during: Spans = { during: [[first.outside, second.outside]] }
    const cost = guestCost({ ...during, after: [second.outside, third.outside] })
    const names = {
      exitsPerSecond: first.byQemu.exits === undefined ? [] : ['exits'],
      pageFaultsPerSecond: ['pf_taken', 'pf_fixed'],
      tlbFlushesPerSecond: ['tlb_flush'],
    }
    const counted = (from: typeof first, to: typeof first, name: string): number =>
      (to.byQemu[name] ?? 0) - (from.byQemu[name] ?? 0)
    for (const [figure, of] of Object.entries(names)) {
      const name = of.find(name => counted(first, third, name) > 0)
      const [within, later] = [
        [first, second],
        [second, third],
      ].map(([from, to]) =>
        from === undefined || to === undefined || name === undefined
          ? undefined
          : Math.round((counted(from, to, name) * 1000) / (to.outside.atMs - from.outside.atMs)),
      )
      expect(cost?.during[figure as keyof typeof names], figure).toBe(within)
      expect(cost?.after?.[figure as keyof typeof names], figure).toBe(later)
    }
    // Two windows with a gap: what was counted in the gap belongs to neither.
    const fourth = await read()
    const both = joined([during, { during: [[third.outside, fourth.outside]] }])
    const flushes = counted(first, second, 'tlb_flush') + counted(third, fourth, 'tlb_flush')
    const ms = second.outside.atMs - first.outside.atMs + (fourth.outside.atMs - third.outside.atMs)
    expect(flushes).toBeGreaterThan(0)
    expect(both && guestCost(both)?.during.tlbFlushesPerSecond).toBe(
      Math.round((flushes * 1000) / ms),
    )
  })
})

it('of two windows are counted in both of them, and not in the gap between', () => {
  const at = (atMs: number, exits: number): Statistics => ({
    atMs,
    counts: new Map([['exits', exits]]),
  })
  const both = joined([
    { during: [[at(0, 0), at(1000, 100)]] },
    { during: [[at(5000, 9000), at(6000, 9300)]] },
  ])
  // 100 and 300 exits in two seconds.
  expect(both && guestCost(both)?.during.exitsPerSecond).toBe(200)
})
