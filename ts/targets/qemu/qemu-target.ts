/** What the kinds of target have in common that QEMU measures. */

import { MeasuredTarget } from '../measured-target.js'
import { type JobAccess, QemuJobs } from './jobs.js'
import { QemuSource } from './source.js'

export abstract class QemuTarget extends MeasuredTarget {
  readonly #jobs: QemuJobs

  /** @internal */
  constructor(access: JobAccess) {
    const jobs = new QemuJobs(access)
    super(new QemuSource(jobs))
    this.#jobs = jobs
  }

  /**
   * How long QEMU goes on with a measurement that was aborted, in ms; 0 if there is none.
   *
   * @internal
   */
  get goesOnMs(): number {
    return this.#jobs.goesOnMs
  }
}
