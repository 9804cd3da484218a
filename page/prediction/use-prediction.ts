/** The predictions of a VM, as the worker gives them. */

import { createContext } from 'preact'
import { useContext, useEffect, useState } from 'preact/hooks'
import type { Verdict } from '../../ts/prediction/figure.js'
import type { MatrixCell } from '../../ts/prediction/matrix.js'
import type { MigrationPrediction } from '../../ts/prediction/migration.js'
import type { DirtyRateCurve } from '../../ts/results/curve.js'
import type { MeasuredWindow, Vm } from '../state/state.js'
import type { Predictor } from './predictor.js'
import type { Link } from './tasks.js'

export const PredictorContext = createContext<Predictor | undefined>(undefined)

/** A slider that moves asks this long after it stands still. */
const SETTLE_MS = 60

export interface Predicted {
  readonly prediction?: MigrationPrediction
  /** A row for each downtime; those that are computed so far. */
  readonly matrix: readonly (readonly MatrixCell[])[]
  readonly error?: { readonly message: string; readonly hint?: string }
  /** Whether what is here is of an older link or curve. */
  readonly isOld: boolean
}

const NOTHING: Predicted = { matrix: [], isOld: true }

/** The prediction of one curve over one link. What was predicted before stays until it comes. */
export function usePrediction(
  curve: DirtyRateCurve | undefined,
  { bytesPerSecond, downtimeMs }: Link,
  vcpus: MeasuredWindow['vcpus'],
): Predicted {
  const predictor = useContext(PredictorContext)
  const [predicted, setPredicted] = useState(NOTHING)
  useEffect(() => {
    if (curve === undefined || predictor === undefined) {
      setPredicted(NOTHING)
      return undefined
    }
    setPredicted(before => ({ ...before, isOld: true }))
    const task = { curve, bytesPerSecond, downtimeMs }
    const timer = setTimeout(() => {
      const rows: (readonly MatrixCell[])[] = []
      predictor.ask(
        'prediction',
        { ...task, kind: 'prediction', ...(vcpus === undefined ? {} : { vcpus }) },
        answer => {
          if (answer.kind === 'prediction') {
            const { prediction } = answer
            setPredicted(({ matrix }) => ({ prediction, matrix, isOld: false }))
          }
          if (answer.kind === 'error') {
            const { message, hint } = answer
            const error = { message, ...(hint === undefined ? {} : { hint }) }
            setPredicted({ matrix: [], error, isOld: false })
          }
        },
      )
      predictor.ask('matrix', { ...task, kind: 'matrix' }, answer => {
        if (answer.kind === 'row') {
          rows[answer.row] = answer.cells
          setPredicted(before => ({ ...before, matrix: [...rows] }))
        }
      })
    }, SETTLE_MS)
    return () => {
      clearTimeout(timer)
      predictor.forget('prediction')
      predictor.forget('matrix')
    }
    // The rates of the vCPUs change with each window, and the limits of each are of this moment.
  }, [predictor, curve, bytesPerSecond, downtimeMs])
  return predicted
}

/** A verdict, or why there is none. */
export type VerdictAnswer = { readonly verdict: Verdict } | { readonly why: string }

/** The verdicts of all VMs that have a curve, by their targets. */
export function useVerdicts(
  vms: readonly Vm[],
  { bytesPerSecond, downtimeMs }: Link,
): ReadonlyMap<string, VerdictAnswer> {
  const predictor = useContext(PredictorContext)
  const [verdicts, setVerdicts] = useState<ReadonlyMap<string, VerdictAnswer>>(new Map())
  const [asked] = useState(() => new Map<string, { curve: DirtyRateCurve; link: string }>())
  const link = `${bytesPerSecond} ${downtimeMs}`
  useEffect(() => {
    if (predictor === undefined) return
    for (const { target, curve } of vms) {
      const before = asked.get(target)
      if (curve === undefined || (before?.curve === curve && before.link === link)) continue
      asked.set(target, { curve, link })
      predictor.ask(
        `verdict ${target}`,
        { kind: 'verdict', curve, bytesPerSecond, downtimeMs },
        answer => {
          const { kind } = answer
          if (kind !== 'verdict' && kind !== 'error') return
          const told = kind === 'verdict' ? { verdict: answer.verdict } : { why: answer.message }
          setVerdicts(known => new Map(known).set(target, told))
        },
      )
    }
  })
  return verdicts
}
