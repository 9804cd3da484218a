/** The scheme of domains of libvirt. */

import { parseChoice } from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'
import { native } from '../../ground/native.js'
import { QEMU_OPTIONS } from '../qemu/options.js'
import type { Scheme } from '../scheme.js'
import { ByLibvirt } from './by-libvirt.js'
import { ByMonitor } from './by-monitor.js'
import { connectionTo, defaultConnection, isLocal } from './connection.js'
import { identify } from './domain.js'
import { LibvirtTarget } from './libvirt-target.js'

/** A domain of libvirt, which virsh measures. */
export const libvirtScheme: Scheme<LibvirtTarget> = {
  name: 'libvirt',
  operand: 'DOMAIN',
  about: 'a domain of libvirt, through virsh: its name, its UUID, or the number that it runs under',
  options: {
    connect: {
      value: 'URI',
      default: 'LIBVIRT_DEFAULT_URI, or qemu:///system',
      meaning: 'which libvirt has the domain, such as qemu:///session or qemu+ssh://host/system',
    },
    monitor: {
      value: 'yes|no',
      default: 'no',
      meaning:
        'yes: measure by the monitor of QEMU, with any window and number of samples; libvirt marks the domain as tainted for that',
    },
  },
  common: QEMU_OPTIONS,
  async open({ name }, { connect, monitor = 'no', force = 'off' }, { signal }) {
    if (connect === '') throw argumentError('connect: it is empty', 'Give a URI of libvirt.')
    const forced = parseChoice(force, 'force', ['on', 'off']) === 'on'
    const byMonitor = parseChoice(monitor, 'monitor', ['yes', 'no']) === 'yes'
    const connection = connectionTo(connect ?? defaultConnection())
    const identity = await identify(connection, name, signal)
    const emulated = isLocal(connection.uri) ? emulatedHere() : undefined
    const way = byMonitor
      ? new ByMonitor(connection, identity)
      : new ByLibvirt(connection, identity)
    const of = { connection, identity, way, force: forced, emulated }
    return new LibvirtTarget(of, byMonitor)
  },
}

/** Whether KVM emulates the guests of this host; undefined where nobody knows. */
function emulatedHere(): boolean | undefined {
  try {
    return native().capabilities().emulated
  } catch {
    return undefined
  }
}
