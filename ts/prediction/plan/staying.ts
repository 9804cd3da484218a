/** A VM that does not go, and why. */

import type { Verdict } from '../figure.js'
import type { Movable } from './offers.js'
import { canBy, type PlanMethod, planMethods, type Task } from './options.js'

/** A VM that does not go by any of the methods that are allowed. */
export interface StayingVm {
  readonly name: string
  /** What a live migration over the whole link would do. */
  readonly verdict: Verdict
  /** The downtime with which it surely goes live; null if there is none. */
  readonly leastDowntimeMs: number | null
  /** The methods that are not allowed, by which it would go. */
  readonly wouldGoBy: readonly PlanMethod[]
  /** The same in a sentence. */
  readonly reason: string
}

/** Why no method that is allowed moves this VM. */
export function stays(movable: Movable, { wanted, methods }: Task): StayingVm {
  const { bytesPerSecond } = wanted
  const verdict = movable.verdict(bytesPerSecond)
  const wouldGoBy = planMethods.filter(
    method =>
      !methods.includes(method) &&
      method !== 'more-downtime' &&
      canBy(wanted.profile, method) &&
      movable.goes(method, bytesPerSecond),
  )
  const leastDowntimeMs = movable.leastDowntimeMs(bytesPerSecond)
  const by = wouldGoBy.length === 0 ? '' : ` It would go by ${wouldGoBy.join(', or by ')}.`
  const least =
    leastDowntimeMs === null || verdict === 'converges'
      ? ''
      : ` It surely goes with a downtime of ${Math.ceil(leastDowntimeMs)} ms.`
  return {
    name: movable.name,
    verdict,
    leastDowntimeMs,
    wouldGoBy,
    reason: `${WHY[verdict]}${least}${by}`,
  }
}

const WHY: Readonly<Record<Verdict, string>> = {
  converges: 'A live migration ends, but the method is not allowed.',
  stalls: 'A live migration does not end.',
  uncertain: 'The curve does not tell whether a live migration ends.',
}
