/** The target of the scheme `qmp:`. */

import { listenerAt } from '../../ground/listener.js'
import { QemuTarget } from '../qemu/qemu-target.js'
import { abilities } from '../qemu/safety.js'
import { versionText } from '../qemu/version.js'
import type { Control, TargetDescription } from '../target.js'
import { escapeOption } from '../uri.js'
import { formatAddress } from './address.js'
import { controlBy } from './control.js'
import { readFacts } from './facts.js'
import { type Measured, QmpAccess } from './job-access.js'

/** A VM that is reached through the QMP monitor of its QEMU. */
export class QmpTarget extends QemuTarget {
  readonly #of: Measured

  /** @internal */
  constructor(of: Measured) {
    super(new QmpAccess(of))
    this.#of = of
  }

  get uri(): string {
    const { monitor, force } = this.#of
    return `qmp:${escapeOption(formatAddress(monitor.address))}${force ? ',force=on' : ''}`
  }

  /**
   * The process of this host that has the monitor; undefined if this user may not see it.
   *
   * @internal
   */
  get processId(): number | undefined {
    return listenerAt(this.#of.monitor.address)?.pid
  }

  /** Stops the VM, lets it go on, and ends it together with its QEMU. */
  get control(): Control {
    this.requireOpen()
    return controlBy(this.#of.monitor)
  }

  /** What QEMU says of the VM, and the modes that are safe with this QEMU. */
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
}
