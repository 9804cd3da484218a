/** The events of a target's measurements. None is named `error`: a failure is its caller's, who has the rejected promise. */

import type { DirtyRateMeasurement } from '../qapi/info.js'
import type { DirtyRateCurve } from '../results/curve.js'
import type { Mode } from '../results/mode.js'

/** What began: a call of measureDirtyRate or measureDirtyCurve, one round of watchDirtyRate, or the job of calcDirtyRate. */
export interface MeasurementBegun {
  /** The number of this measurement of its VM. The event that ends the measurement has the same number. */
  id: number
  by: 'measure' | 'curve' | 'watch' | 'calc'
  mode: Mode
  /** One window, or all windows of a curve. */
  windowsMs: readonly number[]
  /** ISO 8601. */
  startedAt: string
}

/** Each `start` is followed by one of the others, with its `id`. */
export interface MeasurementEvents<M = DirtyRateMeasurement> {
  start: MeasurementBegun
  /** The measurement has its result. */
  done: MeasurementBegun & { result: M | DirtyRateCurve }
  /** The measurement has a result that is only a lower bound: `result.warnings` say why. */
  incomplete: MeasurementBegun & { result: M | DirtyRateCurve }
  /** The measurement has no result. `error` is what its caller's promise rejected with, or ERR_CANCELLED if a watch was left. */
  failed: MeasurementBegun & { error: unknown }
}

type Listener<T> = (event: T) => void

/** A list of listeners by event. A listener that throws does so on its own, later: it disturbs no measurement. */
export class Emitter<Events> {
  readonly #listeners = new Map<keyof Events, Set<Listener<never>>>()

  /** Adds a listener; the returned function takes it away. */
  on<Name extends keyof Events>(name: Name, listener: Listener<Events[Name]>): () => void {
    // An object of its own: one function may listen twice, and be taken away once.
    const entry: Listener<Events[Name]> = event => listener(event)
    const listeners = this.#listeners.get(name) ?? new Set()
    listeners.add(entry)
    this.#listeners.set(name, listeners)
    return () => void listeners.delete(entry)
  }

  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])] as Listener<Events[Name]>[]) {
      try {
        listener(event)
      } catch (error) {
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }
}
