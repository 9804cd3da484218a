/**
 * Which process of this host listens at an address, and how many clients it has, as /proc says.
 * Nothing here connects to the address.
 */

import { realpathSync, type Stats, statSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { descriptorsOf, linkOf, processIds, readText } from './proc.js'
import { inodeOf, unixSocketRows } from './unix-sockets.js'

/** The path of a socket, or a port. */
export type Address = { readonly path: string } | { readonly host: string; readonly port: number }

/** What is known about the listener at an address. */
export interface Listener {
  /** Its process; undefined if this user may not see whose socket it is. */
  readonly pid?: number
  /** How many clients it has accepted that are still connected. */
  readonly served: number
  /** How many clients wait to be accepted. */
  readonly waiting: number
}

/** A socket that may be the one at the address, and the connections of that socket. */
interface Candidate extends Omit<Listener, 'pid'> {
  readonly inode: number
  /** The path as it was bound; undefined for a port. */
  readonly bound?: string
}

/** The listener at an address of this host; undefined if none is known, or if there are several. */
export function listenerAt(address: Address): Listener | undefined {
  const candidates = 'path' in address ? unixCandidates(address.path) : tcpCandidates(address)
  if (candidates.length === 0) return undefined
  const owners = ownersOf(candidates)
  const file = 'path' in address ? fileAt(address.path) : undefined
  const found = owners.filter(
    ({ pid, bound }) => bound === undefined || isSameFile(file, fileAt(pathSeen(pid, bound))),
  )
  const [first] = found
  if (first !== undefined) {
    const { pid, served, waiting } = first
    return found.every(other => other.pid === pid) ? { pid, served, waiting } : undefined
  }
  // If the process is not known, a path names a socket for sure only if the socket was bound by it.
  const [only, ...more] = candidates.filter(
    ({ bound }) => bound === undefined || !('path' in address) || bound === address.path,
  )
  return only === undefined || more.length > 0
    ? undefined
    : { served: only.served, waiting: only.waiting }
}

/** The sockets that were bound to a path of the same name. */
function unixCandidates(path: string): Candidate[] {
  const rows = unixSocketRows('self')
  const names = [path, withoutLinks(path)].map(one => basename(one))
  return rows
    .filter(row => row.listens && names.includes(basename(row.path)))
    .map(({ inode, path: bound }) => {
      const ends = rows.filter(row => !row.listens && row.path === bound)
      const waiting = ends.filter(end => end.inode === 0).length
      return { inode, bound, served: ends.length - waiting, waiting }
    })
}

/** Addresses at which a server is reached as 127.0.0.1 or ::1, as the kernel writes them. */
const NEAR = /^(00000000|0100007F|0{32}|0{24}01000000|0{16}FFFF00000100007F)$/
const ESTABLISHED = '01'
const LISTENS = '0A'

/** The sockets of a port that listen on this host itself. */
function tcpCandidates({ host, port }: { host: string; port: number }): Candidate[] {
  if (!/^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(host)) return []
  const texts = ['tcp', 'tcp6'].map(name => readText(`/proc/self/net/${name}`) ?? '')
  const rows = texts.flatMap(text =>
    text.split('\n').flatMap(line => {
      const [, local = '', , state = '', , , , , , inode] = line.trim().split(/\s+/)
      const [at = '', hex = ''] = local.split(':')
      return Number.parseInt(hex, 16) === port ? [{ at, state, inode: Number(inode) }] : []
    }),
  )
  const ends = rows.filter(({ state }) => state === ESTABLISHED)
  const waiting = ends.filter(({ inode }) => inode === 0).length
  return rows
    .filter(({ at, state }) => state === LISTENS && NEAR.test(at))
    .map(({ inode }) => ({ inode, served: ends.length - waiting, waiting }))
}

/** The processes that have one of the sockets. */
function ownersOf(candidates: readonly Candidate[]): (Candidate & { readonly pid: number })[] {
  const byInode = new Map(candidates.map(candidate => [candidate.inode, candidate]))
  return processIds().flatMap(pid =>
    [...(descriptorsOf(pid)?.values() ?? [])].flatMap(link => {
      const candidate = byInode.get(inodeOf(link) ?? 0)
      return candidate === undefined ? [] : [{ ...candidate, pid }]
    }),
  )
}

/** Whether `path` is the file that a process has bound as `bound`. */
export function isBoundAt(pid: number, bound: string, path: string): boolean {
  return isSameFile(fileAt(path), fileAt(pathSeen(pid, bound)))
}

/** A path of a process, which may have other mounts and another working folder. */
function pathSeen(pid: number, bound: string): string {
  return `/proc/${pid}/root${resolve(linkOf(pid, 'cwd') ?? '/', bound)}`
}

function fileAt(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    return undefined
  }
}

function withoutLinks(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

function isSameFile(one: Stats | undefined, other: Stats | undefined): boolean {
  return one !== undefined && one.dev === other?.dev && one.ino === other.ino
}
