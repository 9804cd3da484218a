/**
 * The events of a target's measurements. No event is named `error`, because the caller of a failed
 * measurement gets the rejected promise.
 */

import { hostProcess } from '../ground/host-process.js'
import type { DirtyRateMeasurement } from '../qapi/info.js'
import type { DirtyRateCurve } from '../results/curve.js'
import type { Mode } from '../results/mode.js'

/**
 * The beginning of a measurement: of a call of measureDirtyRate or measureDirtyCurve, of one round
 * of watchDirtyRate, or of the job of calcDirtyRate.
 */
export interface MeasurementBegun {
  /**
   * The number of this measurement of its VM. The event that ends the measurement has the same
   * number.
   */
  id: number
  by: 'measure' | 'curve' | 'watch' | 'calc'
  mode: Mode
  /** One window, or all windows of a curve. */
  windowsMs: readonly number[]
  /** ISO 8601. */
  startedAt: string
}

/** Each `start` is followed by one of the other events, with the same `id`. */
export interface MeasurementEvents<M = DirtyRateMeasurement, C = DirtyRateCurve> {
  start: MeasurementBegun
  /** The measurement has its result. */
  done: MeasurementBegun & { result: M | C }
  /** The measurement has a result that is only a lower bound: `result.warnings` say why. */
  incomplete: MeasurementBegun & { result: M | C }
  /**
   * The measurement has no result. `error` is what its caller's promise rejected with, or
   * ERR_CANCELLED if a watch was left.
   */
  failed: MeasurementBegun & { error: unknown }
}

type Listener<T> = (event: T) => void

/**
 * The listeners of each event. If a listener throws, the error is thrown later, so that it disturbs
 * no measurement.
 */
export class Emitter<Events> {
  readonly #listeners = new Map<keyof Events, Set<Listener<never>>>()

  /** Adds a listener; the returned function takes it away. */
  on<Name extends keyof Events>(name: Name, listener: Listener<Events[Name]>): () => void {
    // Each entry is a new function, because a caller may add one function twice and remove it once.
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
        hostProcess.nextTick(() => {
          throw error
        })
      }
    }
  }
}
