/** Where the verdict changes: the least downtime and the least bandwidth. */

import { type Figure, figureOf, type Verdict } from './figure.js'
import { smallest } from './growth.js'
import type { Bound } from './model.js'
import type { Scenarios } from './scenarios.js'

/** Faster than every link. */
const FASTEST = 2 ** 50

/**
 * The verdict of the scenarios at a bandwidth and a downtime, if the guest's writers run at a part
 * `speed` of their speed.
 */
export function verdictOf(
  scenarios: Scenarios,
  bytesPerSecond: number,
  downtime: number,
  speed = 1,
): Verdict {
  const threshold = scenarios.threshold(bytesPerSecond, downtime)
  // The state of the devices alone takes longer.
  if (threshold === 0) return 'stalls'
  const left = (bound: Bound): number => scenarios.leftAt(bound, bytesPerSecond, speed)
  if (threshold >= left('high')) return 'converges'
  return threshold < left('low') ? 'stalls' : 'uncertain'
}

/** The least downtime at a bandwidth. */
export function leastDowntime(scenarios: Scenarios, bytesPerSecond: number): Figure {
  const { deviceState, profile } = scenarios.wanted
  const { value, low, high } = scenarios.left(bytesPerSecond)
  const perSecond = scenarios.threshold(
    bytesPerSecond,
    1 + (profile.subtractsDeviceState ? deviceState : 0),
  )
  const ms = (pages: number): number =>
    (pages / perSecond + (profile.subtractsDeviceState ? deviceState : 0)) * 1000
  return figureOf(ms(value), [ms(low), ms(high)])
}

/** The least bandwidth for a downtime. */
export function leastBandwidth(scenarios: Scenarios, downtime: number): Figure {
  if (!Number.isFinite(downtime)) return { value: 0, low: 0, high: 0 }
  const least = (bound: Bound): number =>
    smallest(1, FASTEST, rate => {
      const threshold = scenarios.threshold(rate, downtime)
      return threshold > 0 && threshold >= scenarios.leftAt(bound, rate)
    })
  return figureOf(least('value'), [least('low'), least('high')])
}
