/** What the commands say about the cost to a guest. */

import { describe, expect, it } from 'vitest'
import { printDetails } from '../../ts/cli/curve-text.js'
import { activityDuring, guestActivity } from '../../ts/cli/guest-activity.js'
import { Rates } from '../../ts/cli/rate-unit.js'
import { windowLine } from '../../ts/cli/watch.js'
import type { DirtyRateCurve, DirtyRateMeasurement, GuestCost } from '../../ts/index.js'
import { inSession } from '../fixtures/session.js'

const before = { exitsPerSecond: 10, tlbFlushesPerSecond: 1 }
const during = { exitsPerSecond: 12_345, tlbFlushesPerSecond: 2 }
const after = { exitsPerSecond: 11, tlbFlushesPerSecond: 0 }

describe('the texts', () => {
  it.each<[string, GuestCost, string[]]>([
    [
      'of one window',
      { before, during, after },
      [
        'exits per second: 10 before, 12,345 during and 11 after the window',
        'TLB flushes per second: 1 before, 2 during and 0 after the window',
      ],
    ],
    [
      'of a watch and of a repeated curve',
      { before, during: { exitsPerSecond: 20 } },
      ['exits per second: 10 before and 20 during the window'],
    ],
    [
      'of a guest that was not observed before',
      { during: { pageFaultsPerSecond: 0 } },
      ['page faults per second: 0 during the window'],
    ],
    ['of no figure', { before, during: {} }, []],
  ])('%s', (_, cost, texts) => expect(guestActivity(cost)).toEqual(texts))

  it('of a line have the window alone', () => {
    expect(activityDuring({ before, during })).toBe('12,345 exits and 2 TLB flushes per second')
    const all = { exitsPerSecond: 1, pageFaultsPerSecond: 2, tlbFlushesPerSecond: 3 }
    expect(activityDuring({ during: all })).toBe(
      '1 exits, 2 page faults and 3 TLB flushes per second',
    )
    expect(activityDuring({ during: {} })).toBe('')
  })
})

it('curve prints them', async () => {
  const curve = { points: [], warnings: [], cost: { guest: { before, during } } }
  const { out } = await inSession({ json: false }, async session => {
    printDetails(session, curve as unknown as DirtyRateCurve, new Rates(undefined))
    return 0
  })
  expect(out).toBe(
    'guest       exits per second: 10 before and 12,345 during the window\n' +
      'guest       TLB flushes per second: 1 before and 2 during the window\n',
  )
})

it('watch has the window in its line, as the first figure that a narrow terminal lacks', () => {
  const measurement = {
    bytesPerSecond: 2 ** 20,
    interval: { low: 2 ** 20, high: 2 ** 20, confidence: 1 },
    window: { requestedMs: 1000, ns: 1e9 },
    startedAt: '2026-01-01T00:00:00.000Z',
    complete: true,
    warnings: [],
    cost: { guest: { during } },
  } as unknown as DirtyRateMeasurement
  const rates = new Rates(undefined)
  const wide = windowLine(measurement, rates)
  expect(wide).toMatch(
    / 1\.0 MiB\/s {2}in 1000\.0 ms {2}12,345 exits and 2 TLB flushes per second$/,
  )
  expect(windowLine(measurement, rates, wide.length - 12)).toBe(
    '00:00:00.000  1.0 MiB/s  in 1000.0 ms',
  )
})
