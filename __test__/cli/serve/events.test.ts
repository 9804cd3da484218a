/** What the rounds of a target say, as events for a dashboard. */

import { expect, it } from 'vitest'
import { publishing } from '../../../ts/cli/serve/events.js'
import type { FleetTarget } from '../../../ts/cli/serve/fleet.js'
import type { DashboardEvent } from '../../../ts/dashboard/events.js'
import type { Figures, Frame } from '../../../ts/results/measurement.js'

it('a window says how long the guest was paused in it', () => {
  const events: DashboardEvent[] = []
  const listener = publishing({ uri: 'guest:idle' }, event => events.push(event))
  const window = { requestedMs: 1000, ns: 1e9 }
  const figures = { mode: 'dirty-bitmap', bytesPerSecond: 0, complete: true, warnings: [] }
  for (const one of [window, { ...window, pausedNs: 5 }])
    listener.measured({ ...figures, window: one } as unknown as Frame & Figures, undefined, 1)
  expect(events.map(event => event.kind === 'measured' && event.pausedNs)).toEqual([undefined, 5])
})

it('a target is told when one of its facts is new, also a name that is known only later', () => {
  const events: DashboardEvent[] = []
  const listener = publishing({ uri: 'pid:7' }, event => events.push(event))
  const description = { uri: 'pid:7', memoryBytes: 2 ** 30, state: 'running', modes: [] }
  listener.described(description)
  listener.described(description)
  listener.changed?.({ uri: 'pid:7', name: 'web' } as FleetTarget)
  listener.described(description)
  listener.described({ ...description, state: 'paused' })
  expect(events).toMatchObject([
    { kind: 'target', target: 'pid:7', state: 'running' },
    { kind: 'target', target: 'pid:7', state: 'running', name: 'web' },
    { kind: 'target', target: 'pid:7', state: 'paused', name: 'web' },
  ])
  expect(events[0]).not.toHaveProperty('name')
})
