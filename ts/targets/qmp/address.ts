/** What stands behind `qmp:`: the path of a socket, or a host and a port. */

import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { show } from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'
import type { Address } from '../../ground/listener.js'
import { bracketed } from '../../qmp/greeting.js'

const LARGEST_PORT = 65_535

/**
 * The address that `name` is. A name that has a slash or names a file is a path. Throws
 * ERR_ARGUMENT.
 */
export function parseAddress(name: string): Address {
  const [, host, port] = /^\[?([^/]*?)\]?:(\d+)$/.exec(name) ?? []
  if (host === undefined || port === undefined || existsSync(name)) return { path: resolve(name) }
  if (host === '' || Number(port) < 1 || Number(port) > LARGEST_PORT) {
    throw argumentError(
      `target: ${show(name)} is neither a socket nor HOST:PORT`,
      'Write it as qmp:/run/vm.sock or qmp:127.0.0.1:4444.',
    )
  }
  return { host, port: Number(port) }
}

/** Whether what listens there is on this host. */
export function isLocal(address: Address): boolean {
  return 'path' in address || /^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(address.host)
}

/** The address as a target URI has it, and as errors name it. */
export function formatAddress(address: Address): string {
  if ('path' in address) return address.path
  return `${bracketed(address.host)}:${address.port}`
}
