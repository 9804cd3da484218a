/** The address at which a server listens: `127.0.0.1:9753`, `[::1]:0`, `localhost:9753`. */

import { isIP } from 'node:net'
import { show } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'

/** An address that only this host reaches, or any other one. */
export interface ListenAddress {
  readonly address: string
  readonly port: number
  /** Whether only programs on this host can connect. */
  readonly isLoopback: boolean
}

const FORM = 'Give an IP address and a port: 127.0.0.1:9753, [::1]:9753 or 0.0.0.0:9753.'
const LAST_PORT = 65_535

/** Throws ERR_ARGUMENT, which calls the address `name`. */
export function parseListenAddress(text: string, name: string): ListenAddress {
  const [, bracketed, plain = '', digits = ''] =
    /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text.trim()) ?? []
  const host = bracketed ?? (plain === 'localhost' ? '127.0.0.1' : plain)
  const isAddress = isIP(host) === (bracketed === undefined ? 4 : 6)
  if (!isAddress) throw argumentError(`${name}: ${show(text)} is not an address with a port`, FORM)
  const port = Number(digits)
  if (port > LAST_PORT)
    throw argumentError(`${name}: ${show(digits)} is not a port`, `Give 0 to ${LAST_PORT}.`)
  return { address: host, port, isLoopback: isLoopback(host) }
}

/** Whether only this host reaches an IP address. */
export function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./i.test(address)
}

/** The address as a URL has it. */
export function urlHost(address: string): string {
  return isIP(address) === 6 ? `[${address}]` : address
}
