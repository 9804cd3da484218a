/** The targets of a domain, and what each of them gives. */

import { isTakenForAnother } from '../qemu/domain-names.js'
import type { MeasuringWay } from '../target.js'
import { formatTargetUri } from '../uri.js'
import { defaultConnection, isLocal, type LibvirtConnection } from './connection.js'
import type { Identity } from './domain.js'

/**
 * The URI of a domain, with more options. It has the domain's UUID if virsh may find another domain
 * by its name.
 */
export function uriOf(
  { uri }: Pick<LibvirtConnection, 'uri'>,
  { name, uuid }: Pick<Identity, 'name'> & Partial<Pick<Identity, 'uuid'>>,
  more: Readonly<Record<string, string>> = {},
): string {
  const connect = uri === defaultConnection() ? {} : { connect: uri }
  const known = isTakenForAnother(name) ? (uuid ?? name) : name
  const options = new Map(Object.entries({ ...connect, ...more }))
  return formatTargetUri({ scheme: 'libvirt', name: known, options })
}

/** Each way of measuring a domain. From outside only a domain of this host can be measured. */
export function waysOf(connection: LibvirtConnection, identity: Identity): MeasuringWay[] {
  const outside = {
    target: uriOf(connection, identity, { outside: 'yes' }),
    gives:
      'page sampling from outside of its process, with any window, distinct pages, RAM blocks, and curves of one run; it needs the rights of pid:',
  }
  return [
    {
      target: uriOf(connection, identity),
      gives:
        "QEMU's own modes by libvirt's commands, in whole seconds and whole MiB/s, and leaves no trace",
    },
    {
      target: uriOf(connection, identity, { monitor: 'yes' }),
      gives:
        "QEMU's own modes by its monitor, from 50 ms on and with any number of samples, and marks the domain as tainted",
    },
    ...(isLocal(connection.uri) ? [outside] : []),
  ]
}
