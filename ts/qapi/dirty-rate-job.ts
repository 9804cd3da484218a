/** `calc-dirty-rate` and `query-dirty-rate` of one VM: one job, QEMU's checks in QEMU's order, QEMU's texts. */

import { requireMode } from '../measurement/mode.js'
import type { DirtyRateMeasurement } from '../measurement/result.js'
import { checkArguments } from './arguments.js'
import { inUnit } from './arithmetic.js'
import { QapiError } from './error.js'
import type { CalcDirtyRateArguments, DirtyRateInfo, Mode, QueryDirtyRateArguments } from './types.js'

const SHORTEST_MS = 50
const LONGEST_MS = 60_000
const FEWEST_SAMPLES = 128
const MOST_SAMPLES = 16_384
/** What `sample-pages` reads while a job runs, whatever its mode. */
const DEFAULT_SAMPLE_PAGES = 512

const unit = { type: { oneOf: ['second', 'millisecond'] } } as const
const CALC = {
  'calc-time': { type: 'integer', required: true },
  'calc-time-unit': unit,
  'sample-pages': { type: 'integer' },
  mode: { type: { oneOf: ['page-sampling', 'dirty-ring', 'dirty-bitmap'] } },
} as const
const QUERY = { 'calc-time-unit': unit } as const

/** `calc-time` in milliseconds here, in the caller's unit in the answer. */
const UNSTARTED: DirtyRateInfo = {
  status: 'unstarted',
  'sample-pages': 0,
  mode: 'page-sampling',
  'calc-time-unit': 'millisecond',
  'start-time': 0,
  'calc-time': 0,
}

/** The one job of a VM. */
export class DirtyRateJob {
  readonly #measure: (windowMs: number) => Promise<DirtyRateMeasurement>
  #info: DirtyRateInfo = UNSTARTED
  #failure: unknown

  /** `measure` starts a measurement; it throws at once, before its first await, when the VM cannot be measured. */
  constructor(measure: (windowMs: number) => Promise<DirtyRateMeasurement>) {
    this.#measure = measure
  }

  /**
   * Starts a job and returns; the measurement runs on. Throws QapiError with QEMU's text, ERR_MODE_UNAVAILABLE, and as
   * `requireMeasurable` does when the VM is not running (QEMU measures 0 then).
   */
  calc(given: CalcDirtyRateArguments, requireMeasurable: () => void): void {
    checkArguments(given, CALC)
    const {
      'calc-time': time,
      'calc-time-unit': timeUnit = 'second',
      'sample-pages': samples,
      mode = 'page-sampling',
    } = given
    if (this.#info.status === 'measuring') throw new QapiError('the dirty rate is already being measured.')
    const ms = timeUnit === 'second' ? time * 1000 : time
    if (ms < SHORTEST_MS || ms > LONGEST_MS) {
      throw new QapiError(`Calculation time is out of range [${SHORTEST_MS}ms, ${LONGEST_MS}ms].`)
    }
    if (samples !== undefined) {
      if (mode !== 'page-sampling') throw new QapiError('sample-pages is used only in page-sampling mode')
      if (samples < FEWEST_SAMPLES || samples > MOST_SAMPLES) {
        throw new QapiError(`sample-pages is out of range[${FEWEST_SAMPLES}, ${MOST_SAMPLES}].`)
      }
    }
    if (mode === 'dirty-ring') throw new QapiError(`mode ${mode} is not enabled, use other method instead.`)
    requireMode(mode)
    requireMeasurable()
    this.#start(ms, mode)
  }

  /** The state of the job, its times in the unit asked for. Throws what a failed job failed with, until the next one starts. */
  query(given: QueryDirtyRateArguments): DirtyRateInfo {
    checkArguments(given, QUERY)
    if (this.#failure !== undefined) throw this.#failure
    const timeUnit = given['calc-time-unit'] ?? 'second'
    return {
      ...this.#info,
      'calc-time': inUnit(this.#info['calc-time'], timeUnit),
      'calc-time-unit': timeUnit,
    }
  }

  #start(ms: number, mode: Mode): void {
    this.#failure = undefined
    this.#info = {
      status: 'measuring',
      'sample-pages': DEFAULT_SAMPLE_PAGES,
      mode,
      'calc-time-unit': 'millisecond',
      'start-time': Math.floor(Date.now() / 1000),
      'calc-time': ms,
    }
    this.#measure(ms).then(
      measurement => {
        this.#info = measurement.qapi
      },
      (error: unknown) => {
        this.#info = UNSTARTED
        this.#failure = error
      },
    )
  }
}
