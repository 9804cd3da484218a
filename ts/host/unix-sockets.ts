/** The Unix sockets of a network namespace, as /proc/net/unix lists them. */

import { readText } from '../ground/proc.js'

export interface UnixSocket {
  /** The path as it was bound; it begins with `@` if it is an abstract name. */
  readonly path: string
  readonly listens: boolean
}

/** SO_ACCEPTCON, which the kernel sets in the flags of a socket that listens. */
const ACCEPTS = 0x10000

/** The sockets that have a path, by inode, in the network namespace of a process. */
export function unixSocketsOf(pid: number | 'self'): Map<number, UnixSocket> {
  const sockets = new Map<number, UnixSocket>()
  // A path may contain a newline, so a line begins where the form of a line begins.
  const text = readText(`/proc/${pid}/net/unix`) ?? ''
  const line =
    /^[0-9a-f]{8,16}: [0-9A-F]{8} [0-9A-F]{8} ([0-9A-F]{8}) [0-9A-F]{4} [0-9A-F]{2} +(\d+)(?: (.*))?$/
  for (const row of text.split('\n')) {
    const [, flags, inode, path] = line.exec(row) ?? []
    if (flags === undefined || path === undefined) continue
    const listens = (Number.parseInt(flags, 16) & ACCEPTS) !== 0
    sockets.set(Number(inode), { path, listens })
  }
  return sockets
}

/** The number of the socket that a descriptor is; undefined if it is no socket. */
export function inodeOf(link: string): number | undefined {
  const digits = /^socket:\[(\d+)\]$/.exec(link)?.[1]
  return digits === undefined ? undefined : Number(digits)
}
