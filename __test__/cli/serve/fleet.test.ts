/**
 * A thousand targets that come and go: nothing stays of those that are gone. The targets are played
 * ones, because no host has so many VMs.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { Fleet, type FleetTarget } from '../../../ts/cli/serve/fleet.js'
import type { Settings } from '../../../ts/cli/serve/settings.js'
import { DirtyRateError } from '../../../ts/ground/errors.js'
import { Metrics } from '../../../ts/metrics/metrics.js'
import type { Figures, Frame } from '../../../ts/results/measurement.js'
import { Budget } from '../../../ts/server/budget.js'
import type { Target } from '../../../ts/targets/target.js'
import { samplesOf } from '../../fixtures/exposition.js'
import { growth } from '../../fixtures/growth.js'
import { full } from '../../fixtures/kvm.js'

setFlagsFromString('--expose-gc')
/** How many targets come at each step. */
const EACH = 100
const gc = runInNewContext('gc') as () => void

const RESULT: Frame & Figures = {
  schemaVersion: 1,
  target: 'played:vm',
  startedAt: '2026-01-01T00:00:00Z',
  mode: 'page-sampling',
  window: { requestedMs: 1, ns: 1e6 },
  bytesPerSecond: 4096,
  interval: { low: 2048, high: 8192, confidence: 0.95 },
  sampling: { samplesPerGiB: 512 },
  complete: true,
  warnings: [],
}

interface Played {
  readonly opened: Map<string, number>
  readonly closed: Map<string, number>
  readonly failing: Set<string>
}

const count = (counts: Map<string, number>, key: string): void => {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

/** A fleet of played targets, with the metrics of each. */
function playedFleet(): { fleet: Fleet; metrics: Metrics; played: Played; stop(): Promise<void> } {
  const played: Played = { opened: new Map(), closed: new Map(), failing: new Set() }
  const metrics = new Metrics({ version: '1' })
  const stop = new AbortController()
  const fleet = new Fleet(
    ({ label }) => {
      const series = metrics.add(label)
      return {
        described: description => series.described(description),
        followed: () => series.followed(),
        measured: (...result) => series.measured(...result),
        curveMeasured: (...curve) => series.curveMeasured(...curve),
        curveFailed: error => series.curveFailed(error),
        failed: error => series.failed(error),
        gone: () => metrics.remove(series),
      }
    },
    new Budget(undefined, () => 0),
    stop.signal,
  )
  return {
    fleet,
    metrics,
    played,
    async stop() {
      stop.abort()
      await fleet.closed()
    },
  }
}

function target(played: Played, uri: string, window = 1): FleetTarget {
  const settings = {
    plan: { everyMs: 500, measuring: { window } },
    links: [],
    opening: '',
    all: String(window),
    open: async () => {
      count(played.opened, uri)
      if (played.failing.has(uri)) throw new DirtyRateError('ERR_TARGET_ABSENT', 'played')
      return {
        describe: async () => ({}),
        measureDirtyRate: async () => RESULT,
        close: async () => count(played.closed, uri),
      } as unknown as Target
    },
  } as unknown as Settings
  return { key: uri, uri, label: uri, isNamed: false, settings }
}

/** How many curves were measured. */
let curves = 0

function withCurves(of: FleetTarget): FleetTarget {
  const { settings } = of
  const curve = { everyMs: 3_600_000, windows: () => [1], measuring: {} }
  const open: Settings['open'] = async (...args) =>
    Object.assign(await settings.open(...args), {
      measureDirtyCurve: async () => {
        curves++
        throw new DirtyRateError('ERR_MEASURING', 'played')
      },
    })
  return { ...of, settings: { ...settings, open, plan: { ...settings.plan, curve } } }
}

const names = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, at) => `played:${from + at}`)

const measuredTargets = async (metrics: Metrics): Promise<string[]> =>
  samplesOf((await metrics.expose('text')).text)
    .filter(({ name, value }) => name === 'dirtyrate_measured_seconds_total' && value > 0)
    .map(({ labels }) => labels.target ?? '')

describe('a fleet', () => {
  it('measures a thousand targets at once, of which some fail', { timeout: 90_000 }, async () => {
    const { fleet, metrics, played, stop } = playedFleet()
    for (const uri of names(0, 100)) played.failing.add(uri)
    fleet.serve(names(0, 1000).map(uri => target(played, uri)))
    await expect.poll(() => played.opened.size, { timeout: 60_000, interval: 200 }).toBe(1000)
    expect(await measuredTargets(metrics)).toHaveLength(900)
    await stop()
    expect([...played.closed].filter(([, times]) => times !== 1)).toEqual([])
    expect(played.closed.size).toBe(900)
  })

  it('is asked for no more curves of all targets than some at once', async () => {
    const { fleet, played, stop } = playedFleet()
    const uris = names(0, 30)
    fleet.serve(uris.map(uri => withCurves(target(played, uri))))
    const failing = (): string[] =>
      uris.flatMap(uri => {
        try {
          fleet.wantCurve(uri)
          return []
        } catch (error) {
          return [(error as Error).message]
        }
      })
    const refused = 'Too many curves were asked for in the last minute. Ask again in a while.'
    // The first curves come anyway.
    expect(failing()).toEqual([])
    await expect.poll(() => curves, { timeout: 20_000 }).toBe(30)
    await expect.poll(() => new Set(failing())).toEqual(new Set([refused]))
    await expect.poll(() => curves, { timeout: 20_000 }).toBeGreaterThanOrEqual(40)
    await stop()
    // One more each five seconds.
    expect(curves).toBeLessThan(30 + 10 + 6)
  })

  it('keeps what it knows of a target whose settings change', async () => {
    const { fleet, metrics, played, stop } = playedFleet()
    fleet.serve([target(played, 'played:a')])
    await expect.poll(() => measuredTargets(metrics)).toEqual(['played:a'])
    fleet.serve([target(played, 'played:a', 2)])
    expect(await measuredTargets(metrics)).toEqual(['played:a'])
    await stop()
    expect(played.opened.get('played:a')).toBe(1)
  })

  it('keeps nothing of targets that are gone', { timeout: 300_000 }, async () => {
    const { fleet, metrics, played, stop } = playedFleet()
    const held: { done: number; value: number }[] = []
    const steps = full ? 200 : 25
    for (let step = 0; step < steps; step++) {
      // Half of them go at each step, and as many come.
      fleet.serve(names(step * EACH, step * EACH + 2 * EACH).map(uri => target(played, uri)))
      await sleep(100)
      await metrics.expose('text')
      played.opened.clear()
      played.closed.clear()
      for (let i = 0; i < 2; i++) gc()
      const { heapUsed, external } = process.memoryUsage()
      held.push({ done: step * EACH, value: heapUsed + external })
    }
    fleet.serve([])
    expect(await measuredTargets(metrics)).toEqual([])
    await stop()
    // The series of a target that was measured are more than 4 kB: half of it is noticed.
    expect(growth(held)).toBeLessThan(2048)
  })
})
