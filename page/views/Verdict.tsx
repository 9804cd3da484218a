/** A verdict as a word with a sign, so that it reads without colour. */

import type { Verdict as VerdictWord } from '../../ts/prediction/figure.js'

const SIGNS: Readonly<Record<VerdictWord, string>> = {
  converges: '✓',
  stalls: '✕',
  uncertain: '?',
}

/** What stands in the place of a verdict that cannot be computed. */
export const NO_VERDICT = 'cannot be predicted'

export function Verdict({ verdict }: { verdict: VerdictWord }) {
  return (
    <span class={`verdict verdict-${verdict}`}>
      <span class="verdict-sign" aria-hidden="true">
        {SIGNS[verdict]}
      </span>
      {verdict}
    </span>
  )
}
