/** The QMP monitors of a QEMU, by its command line. */

import { type ArgumentsOf, parseValues, type Values } from './option-syntax.js'

/** Where a monitor can be reached. */
export type MonitorPlace =
  /** A socket of a path, which the process may have bound below its own working folder. */
  | { readonly path: string }
  | { readonly host: string; readonly port: number }
  /** A socket that QEMU got as a file descriptor. */
  | { readonly fd: number }

/** The monitors that a client can connect to. */
export function monitorsOf(of: ArgumentsOf, chardevs: ReadonlyMap<string, Values>): MonitorPlace[] {
  const direct = of('qmp', 'qmp-pretty').flatMap(text => {
    const chardev = /^chardev:(.*)$/s.exec(text)?.[1]
    if (chardev !== undefined) return placeOf(chardevs.get(chardev))
    const [, kind, rest = ''] = /^(unix|tcp|telnet):(.*)$/s.exec(text) ?? []
    if (kind === undefined) return []
    const values = new Map(parseValues(rest, 'address'))
    const address = values.get('address') ?? ''
    const [, host, port] = /^\[?(.*?)\]?:(\d+)$/s.exec(address) ?? []
    if (kind === 'unix') values.set('path', address)
    else values.set('host', host ?? '').set('port', port ?? '')
    return placeOf(values)
  })
  const named = of('mon').flatMap(text => {
    const values = parseValues(text, 'chardev')
    return values.get('mode') === 'control'
      ? placeOf(chardevs.get(values.get('chardev') ?? ''))
      : []
  })
  return [...direct, ...named]
}

/** Where a server listens; nothing for a client, which connects by itself to somebody else. */
function placeOf(values: Values | undefined): MonitorPlace[] {
  if (values === undefined) return []
  const backend = values.get('backend') ?? 'socket'
  const server = values.get('server')
  if (backend !== 'socket' || server === undefined || server === 'off') return []
  const [path, fd, port] = ['path', 'fd', 'port'].map(key => values.get(key))
  if (path !== undefined && path !== '') return [{ path }]
  if (fd !== undefined && /^\d+$/.test(fd)) return [{ fd: Number(fd) }]
  if (port === undefined || !/^\d+$/.test(port)) return []
  const host = values.get('host') ?? ''
  // A server that listens everywhere is reached on this host itself.
  return [
    { host: ['', '0.0.0.0', '::', '*'].includes(host) ? '127.0.0.1' : host, port: Number(port) },
  ]
}
