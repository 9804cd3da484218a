/** A VM that is reached through the QMP monitor of its QEMU. */

import { MeasuredTarget } from '../measured-target.js'
import { abilities } from '../qemu/safety.js'
import { QemuSource } from '../qemu/source.js'
import { versionText } from '../qemu/version.js'
import type { Control, TargetDescription } from '../target.js'
import { escapeOption } from '../uri.js'
import { formatAddress } from './address.js'
import { controlBy } from './control.js'
import { readFacts } from './facts.js'
import { type Measured, QmpJobs } from './job.js'

const HISTORY_SIZE = 100

export class QmpTarget extends MeasuredTarget {
  readonly #of: Measured
  readonly #jobs: QmpJobs
  #closed = false

  /** @internal */
  constructor(of: Measured) {
    const jobs = new QmpJobs(of)
    super(new QemuSource(jobs), HISTORY_SIZE)
    this.#of = of
    this.#jobs = jobs
  }

  get uri(): string {
    const { monitor, force } = this.#of
    return `qmp:${escapeOption(formatAddress(monitor.address))}${force ? ',force=on' : ''}`
  }

  /** Stops the VM, lets it go on, and ends it together with its QEMU. */
  get control(): Control {
    this.requireOpen()
    return controlBy(this.#of.monitor)
  }

  async describe(): Promise<TargetDescription> {
    this.requireOpen()
    return this.#of.monitor.use(async use => {
      const facts = await readFacts(use)
      const { version, kvm, state, vcpus, memoryBytes, migration } = facts
      return {
        uri: this.uri,
        memoryBytes,
        ...(vcpus === undefined ? {} : { vcpus }),
        state,
        kvm,
        modes: abilities(facts, this.#of),
        software: `QEMU ${versionText(version)}, ${kvm ? 'with KVM' : 'without KVM'}`,
        ...(migration === undefined ? {} : { migration }),
      }
    })
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.interruptMeasurements(this.closedError(true))
  }

  /**
   * How long QEMU goes on with a measurement that was aborted, in ms; 0 if there is none.
   *
   * @internal
   */
  get goesOnMs(): number {
    return this.#jobs.goesOnMs
  }

  /** @internal */
  protected isClosed(): boolean {
    return this.#closed
  }
}
