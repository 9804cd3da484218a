/**
 * The mode 'dirty-ring': makes the figures of a window from the vCPUs' dirty rings. The calls that
 * measure are in five-steps.ts. A ring entry is not a page: the rate counts the distinct pages of
 * all vCPUs together, and entries and duplicates are reported beside it.
 */

import type { Warning } from '../../results/warning.js'
import { bitmapFigures } from './dirty-bitmap.js'
import type { RingFigures } from './figures.js'
import type { ExactRound } from './five-steps.js'

/** The figures are exact, unless a ring was overrun. Then they are a lower bound, and say so. */
export function ringFigures(round: ExactRound, pageSize: number): RingFigures {
  const { reap } = round
  const { bytesPerSecond, complete, ring } = reap
  if (!ring) throw new RangeError('the reap of a VM with dirty rings has none')
  const vcpus = (reap.vcpus ?? []).map(({ id, pages, entries, duplicates, bytesPerSecond }) => ({
    id,
    pages,
    entries,
    duplicates,
    bytesPerSecond,
  }))
  const figures = bitmapFigures(round, pageSize)
  return {
    ...figures,
    mode: 'dirty-ring',
    interval: { low: bytesPerSecond, high: complete ? bytesPerSecond : null, confidence: 1 },
    vcpus,
    ring: { ...ring },
    complete,
    warnings: complete ? figures.warnings : [overrun(ring.lost), ...figures.warnings],
  }
}

function overrun(lost: number): Warning {
  const known = lost > 0 ? `, ${lost} that are known of` : ''
  return {
    code: 'RING_OVERRUN',
    message: `a dirty ring was overrun and entries were lost${known}: the figures are lower bounds; give the VM more ring entries`,
  }
}
