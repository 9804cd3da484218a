/** A domain of libvirt. */

import { MeasuredTarget } from '../measured-target.js'
import { abilities } from '../qemu/safety.js'
import { QemuSource } from '../qemu/source.js'
import { versionText } from '../qemu/version.js'
import type { TargetDescription } from '../target.js'
import { readFacts } from './domain.js'
import { LibvirtJobs, type Measured } from './job.js'
import { uriOf, waysOf } from './ways.js'

const HISTORY_SIZE = 100
/** libvirt measures whole seconds. */
const CURVE_WINDOWS = ['1s', '2s', '5s'] as const

export class LibvirtTarget extends MeasuredTarget {
  readonly #of: Measured
  readonly #jobs: LibvirtJobs
  readonly #byMonitor: boolean
  #closed = false

  /** @internal */
  constructor(of: Measured, byMonitor: boolean) {
    const jobs = new LibvirtJobs(of)
    super(new QemuSource(jobs), HISTORY_SIZE)
    this.#of = of
    this.#jobs = jobs
    this.#byMonitor = byMonitor
  }

  get uri(): string {
    const { connection, identity, force } = this.#of
    return uriOf(connection, identity, {
      ...(this.#byMonitor ? { monitor: 'yes' } : {}),
      ...(force ? { force: 'on' } : {}),
    })
  }

  async describe(): Promise<TargetDescription> {
    this.requireOpen()
    const { connection, identity } = this.#of
    const facts = await readFacts(connection, identity)
    const { version, kvm, state, vcpus, memoryBytes, migration } = facts
    return {
      uri: this.uri,
      memoryBytes,
      vcpus,
      state,
      kvm,
      modes: abilities(facts, this.#of),
      software: `QEMU ${versionText(version)} of libvirt, ${kvm ? 'with KVM' : 'without KVM'}`,
      ...(migration === undefined ? {} : { migration }),
      ways: waysOf(connection, identity),
    }
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

  /**
   * The windows of a curve for which the command was given none; undefined if any will do.
   *
   * @internal
   */
  get curveWindows(): readonly string[] | undefined {
    return this.#byMonitor ? undefined : CURVE_WINDOWS
  }

  /** @internal */
  protected isClosed(): boolean {
    return this.#closed
  }
}
