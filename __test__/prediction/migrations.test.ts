/**
 * Six real migrations from one QEMU to another, each predicted beforehand from a curve of QEMU's
 * and from one that was measured from outside. `npm run bench:migrations` has many more.
 */

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type DirtyRateCurve, openTarget } from '../../ts/index.js'
import { type Figure, predictMigration } from '../../ts/prediction/index.js'
import { root } from '../fixtures/command.js'
import { describeWith } from '../fixtures/kvm.js'

interface Answer {
  readonly status: string
  readonly downtime?: number
  readonly 'total-time'?: number
  readonly ram?: { readonly transferred: number; readonly remaining: number }
}

interface Limits {
  readonly bandwidthBytesPerSecond: number
  readonly downtimeMs: number
}

interface Guest {
  readonly pid: number
  readonly socket: string
  migrate(limits: Limits, follow: (answer: Answer) => boolean): Promise<Answer>
  close(): Promise<void>
}

const { MigratingGuest }: { MigratingGuest: { start(scenario: object): Promise<Guest> } } =
  await import(join(root, 'benches/migrations/machine.mjs'))

const MIB = 2 ** 20
const MEMORY = 512 * MIB
const WINDOWS = ['50ms', '100ms', '200ms', '400ms', '800ms', '1600ms', '3200ms']
/** A migration that is predicted to stall is given up after so many of its first passes. */
const PASSES = 4

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 })

/** Verdicts of links that are clearly fast or slow: half and twice what the guest writes. */
const cases = [
  {
    guest: { kind: 'stride', pages: 16_000, rate: 40 * MIB, placement: 'packed' },
    migrations: [
      { share: 0.5, downtimeMs: 100, verdict: 'stalls' },
      { share: 2, downtimeMs: 300, verdict: 'converges' },
      { share: 4, downtimeMs: 100, verdict: 'converges' },
    ],
  },
  {
    guest: { kind: 'random', pages: 12_000, rate: 30 * MIB, placement: 'packed', seed: 5 },
    migrations: [
      { share: 0.5, downtimeMs: 100, verdict: 'stalls' },
      { share: 2, downtimeMs: 300, verdict: 'converges' },
      { share: 4, downtimeMs: 100, verdict: 'converges' },
    ],
  },
]

async function curveOf(uri: string, options: object): Promise<DirtyRateCurve> {
  const target = await openTarget(uri)
  try {
    return await target.measureDirtyCurve({ windows: WINDOWS, ...options })
  } finally {
    await target.close()
  }
}

/** The figure's bounds, wide enough for both of two figures. */
const around = (a: Figure, b: Figure): [low: number, high: number] => [
  Math.min(a.low ?? 0, b.low ?? 0),
  Math.max(a.high ?? Number.POSITIVE_INFINITY, b.high ?? Number.POSITIVE_INFINITY),
]

describeWith('qemu-system-x86_64', 'a migration of QEMU', () => {
  for (const { guest: scenario, migrations } of cases) {
    describe(`of a guest that writes by ${scenario.kind}`, () => {
      let guest: Guest
      const curves = new Map<string, DirtyRateCurve>()

      beforeAll(async () => {
        guest = await MigratingGuest.start({ memoryBytes: MEMORY, guest: scenario })
        curves.set('from outside', await curveOf(`pid:${guest.pid}`, { samplePages: 16_384 }))
        const { memory } = curves.get('from outside') ?? {}
        const bitmap = await curveOf(`qmp:${guest.socket}`, { mode: 'dirty-bitmap' })
        // QEMU does not say which pages are zero.
        curves.set("by QEMU's bitmap", { ...bitmap, ...(memory === undefined ? {} : { memory }) })
      })
      afterAll(() => guest?.close())

      for (const { share, downtimeMs, verdict } of migrations) {
        it(`at ${share} of its rate and ${downtimeMs} ms goes as predicted`, async () => {
          const bandwidth = Math.round(share * scenario.rate)
          const downtime = downtimeMs
          const patience = (PASSES * scenario.pages * 4096 * 1000) / bandwidth
          const done = await guest.migrate(
            { bandwidthBytesPerSecond: bandwidth, downtimeMs },
            answer => (answer['total-time'] ?? 0) > patience && verdict === 'stalls',
          )
          expect(done.status === 'completed' ? 'converges' : 'stalls').toBe(verdict)
          for (const [by, curve] of curves) {
            const predicted = predictMigration(curve, { bandwidth, downtime, memory: MEMORY })
            expect(predicted.verdict, by).toBe(verdict)
            if (verdict === 'stalls') continue
            // A busy machine sends less than it may: the answer is between the two.
            const bytes = done.ram?.transferred ?? 0
            const ms = (done['total-time'] ?? 0) - (done.downtime ?? 0)
            const reached = Math.min((bytes * 1000) / ms, bandwidth)
            const slower = predictMigration(curve, { bandwidth: reached, downtime, memory: MEMORY })
            const sent = around(predicted.bytes, slower.bytes)
            expect(bytes, by).toBeGreaterThanOrEqual(sent[0])
            expect(bytes, by).toBeLessThanOrEqual(sent[1])
          }
        })
      }
    })
  }
})
