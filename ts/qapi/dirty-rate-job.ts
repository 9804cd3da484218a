/**
 * `calc-dirty-rate` and `query-dirty-rate` of one VM: one job, QEMU's checks in QEMU's order,
 * QEMU's texts.
 */

import { hasCode } from '../ground/errors.js'
import type { Mode } from '../results/mode.js'
import { checkArguments } from './arguments.js'
import { infoInUnit } from './arithmetic.js'
import { QapiError } from './error.js'
import { DEFAULT_SAMPLES, FEWEST_SAMPLES, LONGEST_MS, MOST_SAMPLES, SHORTEST_MS } from './limits.js'
import { type DirtyRateMeasureMode, modeOf } from './measure-mode.js'
import { commandTypes } from './schema.js'
import { trace } from './trace.js'
import type {
  CalcDirtyRateArguments,
  DirtyRateInfo,
  DirtyRateStatus,
  QueryDirtyRateArguments,
} from './types.js'

/** `calc-time` is in milliseconds here, and in the caller's unit in the answer. */
const UNSTARTED: DirtyRateInfo = {
  status: 'unstarted',
  'sample-pages': 0,
  mode: 'page-sampling',
  'calc-time-unit': 'millisecond',
  'start-time': 0,
  'calc-time': 0,
}

/** What a job measures. */
export interface JobRequest {
  window: number
  mode: Mode
  /** Samples per GiB, in mode page-sampling only. */
  samplePages?: number
}

/** The VM of a job. */
export interface JobTarget {
  readonly modes: readonly Mode[]
  /** Throws if the VM is not running. QEMU would measure 0 then. */
  requireMeasurable(): void
  measure(request: JobRequest): Promise<{ readonly qapi: DirtyRateInfo }>
}

/** The one job of a VM. */
export class DirtyRateJob {
  readonly #target: JobTarget
  #info: DirtyRateInfo = UNSTARTED
  #failure: unknown

  constructor(target: JobTarget) {
    this.#target = target
  }

  /**
   * Starts a job and returns; the measurement runs on. Throws QapiError with QEMU's text, and what
   * `requireMeasurable` throws.
   */
  calc(given: CalcDirtyRateArguments): void {
    checkArguments(given, commandTypes['calc-dirty-rate'].args)
    const {
      'calc-time': time,
      'calc-time-unit': timeUnit = 'second',
      'sample-pages': samples,
      mode = 'page-sampling',
    } = given
    if (this.measuring) throw new QapiError('the dirty rate is already being measured.')
    const ms = timeUnit === 'second' ? time * 1000 : time
    if (ms < SHORTEST_MS || ms > LONGEST_MS) {
      throw new QapiError(`Calculation time is out of range [${SHORTEST_MS}ms, ${LONGEST_MS}ms].`)
    }
    if (samples !== undefined) {
      if (mode !== 'page-sampling')
        throw new QapiError('sample-pages is used only in page-sampling mode')
      if (samples < FEWEST_SAMPLES || samples > MOST_SAMPLES) {
        throw new QapiError(`sample-pages is out of range[${FEWEST_SAMPLES}, ${MOST_SAMPLES}].`)
      }
    }
    if (!this.#target.modes.includes(modeOf(mode))) {
      throw new QapiError(`mode ${mode} is not enabled, use other method instead.`)
    }
    this.#target.requireMeasurable()
    this.#start(ms, mode, samples ?? DEFAULT_SAMPLES)
  }

  get measuring(): boolean {
    return this.#info.status === 'measuring'
  }

  /** Whether the last job was ended by the end of its VM. */
  get endedByClose(): boolean {
    return hasCode(this.#failure, 'ERR_CLOSED')
  }

  /**
   * The state of the job, with its times in the unit that was asked for. If the job has failed,
   * this throws its error, until the next job starts.
   */
  query(given: QueryDirtyRateArguments): DirtyRateInfo {
    checkArguments(given, commandTypes['query-dirty-rate'].args)
    trace('query_dirty_rate_info', { new_state: this.#info.status })
    if (this.#failure !== undefined) throw this.#failure
    return infoInUnit(this.#info, given['calc-time-unit'] ?? 'second')
  }

  #start(ms: number, mode: DirtyRateMeasureMode, samples: number): void {
    this.#failure = undefined
    // QEMU first returns to the state 'unstarted'.
    traceState('unstarted')
    this.#enter({
      status: 'measuring',
      // As in QEMU, this is the default in every mode.
      'sample-pages': samples,
      mode,
      'calc-time-unit': 'millisecond',
      'start-time': Math.floor(Date.now() / 1000),
      'calc-time': ms,
    })
    const request = {
      window: ms,
      mode: modeOf(mode),
      ...(mode === 'page-sampling' ? { samplePages: samples } : {}),
    }
    this.#target.measure(request).then(
      measurement => this.#enter(measurement.qapi),
      (error: unknown) => {
        this.#enter(UNSTARTED)
        this.#failure = error
      },
    )
  }

  #enter(info: DirtyRateInfo): void {
    traceState(info.status)
    this.#info = info
  }
}

function traceState(status: DirtyRateStatus): void {
  trace('dirtyrate_set_state', { new_state: status })
}
