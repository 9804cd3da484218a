/** A domain of libvirt. */

import { QemuTarget } from '../qemu/qemu-target.js'
import { abilities } from '../qemu/safety.js'
import { versionText } from '../qemu/version.js'
import type { TargetDescription } from '../target.js'
import { isLocal } from './connection.js'
import { readFacts } from './domain.js'
import { processesOf } from './domain-process.js'
import { LibvirtAccess, type Measured } from './job-access.js'
import { uriOf, waysOf } from './ways.js'

/** libvirt measures whole seconds. */
const CURVE_WINDOWS = ['1s', '2s', '5s'] as const

export class LibvirtTarget extends QemuTarget {
  readonly #of: Measured
  readonly #byMonitor: boolean

  /** @internal */
  constructor(of: Measured, byMonitor: boolean) {
    super(new LibvirtAccess(of))
    this.#of = of
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

  /**
   * The process of this host that runs the VM; undefined if there is none, or several.
   *
   * @internal
   */
  get processId(): number | undefined {
    const { connection, identity } = this.#of
    const [pid, ...more] = isLocal(connection.uri) ? processesOf(identity.uuid) : []
    return more.length === 0 ? pid : undefined
  }

  /**
   * The windows of a curve for which the command was given none; undefined if any will do.
   *
   * @internal
   */
  get curveWindows(): readonly string[] | undefined {
    return this.#byMonitor ? undefined : CURVE_WINDOWS
  }
}
