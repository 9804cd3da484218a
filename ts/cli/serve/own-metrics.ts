/** The metrics of `serve` that belong to no target. */

import type { Sample } from '../../metrics/families.js'
import type { Budget } from '../../server/budget.js'
import type { CpuTime } from '../../server/cpu-time.js'

const MS_PER_SECOND = 1000

/** What measuring costs, and what it may cost. */
export function* costSamples(
  cpuTime: CpuTime,
  budget: Budget | undefined,
): Generator<Sample, void, undefined> {
  const of = (name: Sample['name'], value: number): Sample => ({ name, labels: {}, value })
  yield of('dirtyrate_measuring_cpu_seconds_total', cpuTime.spentMs() / MS_PER_SECOND)
  yield of('dirtyrate_period_stretch_ratio', budget?.stretch() ?? 1)
  if (budget?.share !== undefined) yield of('dirtyrate_budget_ratio', budget.share)
}
