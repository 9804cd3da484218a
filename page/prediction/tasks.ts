/** What the page asks its predictor, which runs in a worker. */

import type { Verdict } from '../../ts/prediction/figure.js'
import type { MatrixCell } from '../../ts/prediction/matrix.js'
import type { MigrationPrediction } from '../../ts/prediction/migration.js'
import type { DirtyRateCurve } from '../../ts/results/curve.js'

/** A link, and how long the guest may stand still. */
export interface Link {
  readonly bytesPerSecond: number
  readonly downtimeMs: number
}

interface CommonTask extends Link {
  readonly id: number
  readonly curve: DirtyRateCurve
}

export type Task =
  | (CommonTask & { readonly kind: 'verdict' })
  | (CommonTask & {
      readonly kind: 'prediction'
      readonly vcpus?: readonly { readonly id: number; readonly bytesPerSecond: number }[]
    })
  | (CommonTask & { readonly kind: 'matrix' })

/** The answers to a task. A matrix comes row by row. */
export type Answer = { readonly id: number } & (
  | { readonly kind: 'verdict'; readonly verdict: Verdict }
  | { readonly kind: 'prediction'; readonly prediction: MigrationPrediction }
  | { readonly kind: 'row'; readonly row: number; readonly cells: readonly MatrixCell[] }
  | { readonly kind: 'done' }
  | { readonly kind: 'error'; readonly message: string; readonly hint?: string }
)
