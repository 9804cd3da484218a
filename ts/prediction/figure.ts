/** The words of a prediction: a figure with its bounds, and a verdict. */

/**
 * A figure with its bounds. Null stands for a figure that does not exist because the migration does
 * not end: as `value` if it most probably does not end, as `high` if it may not end.
 */
export interface Figure {
  readonly value: number | null
  readonly low: number | null
  readonly high: number | null
}

/**
 * What happens to a migration: it comes to its end, it goes on for ever, or the curve does not
 * tell.
 */
export type Verdict = 'converges' | 'stalls' | 'uncertain'

/** All verdicts. */
export const verdicts: readonly Verdict[] = ['converges', 'stalls', 'uncertain']

/** A number that no migration reaches: infinity, as null. */
const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)

/**
 * The figure of which `value` is the most probable one, and `others` are possible too. Infinity
 * becomes null.
 */
export function figureOf(value: number, others: readonly number[], low: number = value): Figure {
  return {
    value: finite(value),
    low: finite(Math.min(low, value, ...others)),
    high: finite(Math.max(low, value, ...others)),
  }
}
