/** The scheme of domains of libvirt. */

import { parseChoice } from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'
import { parseForce, QEMU_OPTIONS } from '../qemu/options.js'
import { emulatedHere } from '../qemu/safety.js'
import type { Scheme } from '../scheme.js'
import type { Target } from '../target.js'
import { ByLibvirt } from './by-libvirt.js'
import { ByMonitor } from './by-monitor.js'
import { connectionTo, defaultConnection, isLocal, type LibvirtConnection } from './connection.js'
import { identify } from './domain.js'
import { processOf } from './domain-process.js'
import { LibvirtTarget } from './libvirt-target.js'
import { uriOf } from './ways.js'

/** Opens the VM in a process, as a target with the URI `uri`. */
export type OpenProcess = (
  pid: number,
  uri: string,
  signal: AbortSignal | undefined,
) => Promise<Target>

/**
 * The scheme of domains, which virsh measures. `openProcess` opens the process of a domain, because
 * this kind of target knows nothing of processes.
 */
export const makeLibvirtScheme = (openProcess: OpenProcess): Scheme => ({
  name: 'libvirt',
  operand: 'DOMAIN',
  about: 'a domain of libvirt, through virsh: its name, its UUID, or the number that it runs under',
  options: {
    connect: {
      value: 'URI',
      default: 'LIBVIRT_DEFAULT_URI, or qemu:///system',
      meaning: 'which libvirt has the domain, such as qemu:///session or qemu+ssh://host/system',
    },
    outside: {
      value: 'yes|no',
      default: 'no',
      meaning:
        "yes: sample the memory of the domain's process from outside, as pid: does, with any window",
    },
    monitor: {
      value: 'yes|no',
      default: 'no',
      meaning:
        'yes: measure by the monitor of QEMU, with any window and number of samples; libvirt marks the domain as tainted for that',
    },
  },
  common: QEMU_OPTIONS,
  async open({ name }, given, { signal }) {
    const { connect, monitor = 'no', outside = 'no', force } = given
    if (connect === '') throw argumentError('connect: it is empty', 'Give a URI of libvirt.')
    const isForced = parseForce(force)
    const byMonitor = parseChoice(monitor, 'monitor', ['yes', 'no']) === 'yes'
    const fromOutside = parseChoice(outside, 'outside', ['yes', 'no']) === 'yes'
    const connection = connectionTo(connect ?? defaultConnection())
    if (fromOutside) requireOutside(connection, { byMonitor, isForced })
    const identity = await identify(connection, name, signal)
    if (fromOutside) {
      const uri = uriOf(connection, identity, { outside: 'yes' })
      return openProcess(processOf(identity), uri, signal)
    }
    const way = byMonitor
      ? new ByMonitor(connection, identity)
      : new ByLibvirt(connection, identity)
    const emulated = isLocal(connection.uri) ? emulatedHere() : undefined
    const of = { connection, identity, way, force: isForced, emulated }
    return new LibvirtTarget(of, byMonitor)
  },
})

/** Throws ERR_ARGUMENT for a domain of another host, and for options of the other ways. */
function requireOutside(
  { uri }: LibvirtConnection,
  { byMonitor, isForced }: { byMonitor: boolean; isForced: boolean },
): void {
  if (!isLocal(uri)) {
    throw argumentError(
      `outside: the domain runs on another host: ${uri}`,
      'Leave it out, or run dirtyrate on that host.',
    )
  }
  const other = byMonitor ? 'monitor=yes' : isForced ? 'force=on' : undefined
  if (other === undefined) return
  throw argumentError(`outside: it cannot be combined with ${other}`, 'Give one of the two.')
}
