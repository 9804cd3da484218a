/** The Unix sockets of a network namespace, as /proc/net/unix lists them. */

import { readText } from './proc.js'

export interface UnixSocket {
  /** The path as it was bound; it begins with `@` if it is an abstract name. */
  readonly path: string
  readonly listens: boolean
}

/** A line of the list. */
export interface UnixSocketRow extends UnixSocket {
  /** 0 for the end of a connection that its server has not accepted yet. */
  readonly inode: number
}

/** SO_ACCEPTCON, which the kernel sets in the flags of a socket that listens. */
const ACCEPTS = 0x10000

/** The sockets that have a path, in the network namespace of a process. */
export function unixSocketRows(pid: number | 'self'): UnixSocketRow[] {
  // A path may contain a newline, so a line begins where the form of a line begins.
  const text = readText(`/proc/${pid}/net/unix`) ?? ''
  const line =
    /^[0-9a-f]{8,16}: [0-9A-F]{8} [0-9A-F]{8} ([0-9A-F]{8}) [0-9A-F]{4} [0-9A-F]{2} +(\d+)(?: (.*))?$/
  return text.split('\n').flatMap(row => {
    const [, flags, inode, path] = line.exec(row) ?? []
    if (flags === undefined || path === undefined) return []
    return [{ path, listens: (Number.parseInt(flags, 16) & ACCEPTS) !== 0, inode: Number(inode) }]
  })
}

/** The same sockets by inode, without the connections that wait to be accepted. */
export function unixSocketsOf(pid: number | 'self'): Map<number, UnixSocket> {
  const rows = unixSocketRows(pid).filter(({ inode }) => inode !== 0)
  return new Map(rows.map(({ inode, ...socket }) => [inode, socket]))
}

/** The number of the socket that a descriptor is; undefined if it is no socket. */
export function inodeOf(link: string): number | undefined {
  const digits = /^socket:\[(\d+)\]$/.exec(link)?.[1]
  return digits === undefined ? undefined : Number(digits)
}
