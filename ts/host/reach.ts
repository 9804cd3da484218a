/** Which targets can reach a VM of this host, and by which rights. */

import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { codeOf } from '../ground/errors.js'
import { goOn, isProcOfThisNamespace, linkOf, opens, stoppedBy } from '../ground/proc.js'
import { inodeOf, type UnixSocket, unixSocketsOf } from '../ground/unix-sockets.js'
import { START_LIBVIRT, VIRSH_PACKAGES, whenRefused } from '../targets/libvirt/advice.js'
import { defaultConnection, isLocal, SESSION, SYSTEM } from '../targets/libvirt/connection.js'
import { uriOf } from '../targets/libvirt/ways.js'
import {
  AS_ITS_USER,
  mendFor,
  type Reader,
  RIGHTS,
  rightOf,
  subjectOf,
} from '../targets/process/rights.js'
import type { MonitorPlace } from '../targets/qemu/monitor-places.js'
import { formatTargetUri } from '../targets/uri.js'
import type { VmProcess } from './virtual-machines.js'

/** A target for a VM, and whether this process can use it. */
export interface Route {
  /** The target's URI. */
  readonly target: string
  readonly reachable: boolean
  /** By which right the VM can be reached, or why it cannot. */
  readonly why: string
  /** What makes it reachable, if it is not. */
  readonly mend?: string
}

/** What this process can use besides the VM. */
export interface Means {
  readonly reader: Reader
  /** Whether there is a virsh. */
  readonly virsh: boolean
  /** Whether libvirt's usual daemon answers this user; undefined if it was not asked. */
  readonly daemonAnswers?: boolean
}

/** The targets for a VM, those that say most of it first. */
export function routesTo(vm: VmProcess, means: Means): Route[] {
  const process = processRoute(vm, means.reader)
  // libvirt owns the monitor of its domains: a second client of it could block libvirt.
  if (vm.libvirt !== undefined) return [libvirtRoute(vm, means), process]
  return [...monitorRoutes(vm), process]
}

/** The sockets of libvirt's daemon for all drivers, and of that for QEMU alone. */
const DAEMON_SOCKETS = ['/run/libvirt/libvirt-sock', '/run/libvirt/virtqemud-sock']

/** The URI of this host's daemon: that of the environment, if it is one. */
function systemUri(): string {
  const uri = defaultConnection()
  return isLocal(uri) && /^[^?]*\/system(\?|$)/.test(uri) ? uri : SYSTEM
}

/** The sockets of a daemon. Its URI may name another one than the usual. */
function socketsOf(uri: string): readonly string[] {
  const named = /[?&]socket=([^&]+)/.exec(uri)?.[1]
  return named === undefined ? DAEMON_SOCKETS : [decodeURIComponent(named)]
}

function libvirtRoute({ libvirt, uid, name = '', uuid }: VmProcess, means: Means): Route {
  const { reader, virsh, daemonAnswers } = means
  const session = libvirt?.session === true
  const uri = session ? SESSION : systemUri()
  const target = uriOf({ uri }, { name, ...(uuid === undefined ? {} : { uuid }) })
  const no = (why: string, mend: string): Route => ({ target, reachable: false, why, mend })
  if (!virsh) return no('virsh is not installed', VIRSH_PACKAGES)
  if (session) {
    return uid === reader.uid
      ? { target, reachable: true, why: "a domain of this user's session" }
      : no(`a domain of the session of user ${uid}`, asUserOfSession(uid))
  }
  // That daemon was asked which applies to a target without an option.
  const wasAsked = uri === defaultConnection()
  if (daemonAnswers === false && wasAsked)
    return no("libvirt's daemon gives this user no answer", 'dirtyrate doctor shows the reason')
  const sockets = socketsOf(uri).filter(socket => existsSync(socket))
  if (sockets.length === 0) return no('no daemon of libvirt listens', START_LIBVIRT)
  const condition = daemonAnswers === true && wasAsked ? '' : ', if its daemon answers'
  if (reader.uid === 0) return { target, reachable: true, why: `root${condition}` }
  return sockets.some(isWritable)
    ? { target, reachable: true, why: `libvirt's socket is open to this user${condition}` }
    : no("libvirt's socket is closed to this user", whenRefused())
}

/**
 * A daemon of a session listens in a folder that only its user has, and that sudo does not name.
 */
const asUserOfSession = (uid: number): string =>
  `Run it as that user: sudo -u '#${uid}' env XDG_RUNTIME_DIR=/run/user/${uid} npx dirtyrate list`

/** What lets a program use the numbers of the processes that /proc shows. */
export const SHARE_NAMESPACE = 'Start the container with the namespace of the host: --pid host'

function processRoute({ pid, uid, noMemory }: VmProcess, reader: Reader): Route {
  const target = `pid:${pid}`
  if (!isProcOfThisNamespace()) {
    const why = '/proc shows the processes of another namespace'
    return { target, reachable: false, why, mend: SHARE_NAMESPACE }
  }
  const subject = subjectOf(pid) ?? { uid, dumpable: true, privileged: false }
  const right = RIGHTS[rightOf(reader, subject)]
  // The table says why; the kernel says whether.
  const reachable = ['maps', 'mem', 'pagemap'].every(name => opens(`/proc/${pid}/${name}`))
  if (reachable && noMemory) {
    const mend = `If there is some, say where: ${target},range=START-END`
    return { target, reachable: false, why: 'no guest memory is found in this process', mend }
  }
  if (reachable)
    return { target, reachable, why: right.mend === undefined ? right.reader : 'allowed' }
  const missing = right.mend === undefined ? 'the kernel refuses to open its memory' : right.reader
  return { target, reachable, why: missing, mend: mendFor(reader, subject) }
}

/** So many monitors of one VM are listed: a command line can name thousands, each costing time. */
const MOST_MONITORS = 16

function monitorRoutes(vm: VmProcess): Route[] {
  const sockets = vm.monitors.length === 0 ? new Map() : unixSocketsOf(vm.pid)
  return vm.monitors.slice(0, MOST_MONITORS).flatMap(place => {
    const route = 'port' in place ? portRoute(place) : socketRoute(vm, place, sockets)
    return route === undefined ? [] : [route]
  })
}

const qmp = (name: string): string => formatTargetUri({ scheme: 'qmp', name, options: new Map() })

function portRoute({ host, port }: { host: string; port: number }): Route {
  const name = `${host.includes(':') ? `[${host}]` : host}:${port}`
  return { target: qmp(name), reachable: true, why: 'a port that any user of this host can use' }
}

/** A monitor is made when QEMU starts. */
const START_WITH_QMP = 'Start the VM again with one more -qmp unix:PATH,server=on,wait=off'

/** The route to a monitor on a Unix socket; undefined if its path is not known. */
function socketRoute(
  vm: VmProcess,
  place: Exclude<MonitorPlace, { port: number }>,
  sockets: ReadonlyMap<number, UnixSocket>,
): Route | undefined {
  const { pid, descriptors } = vm
  const mine = [...(descriptors ?? [])].flatMap(([fd, link]) => {
    const inode = inodeOf(link)
    const socket = inode === undefined ? undefined : sockets.get(inode)
    return socket === undefined ? [] : [{ fd, ...socket }]
  })
  const bound = 'fd' in place ? mine.find(({ fd }) => fd === place.fd)?.path : place.path
  if (bound === undefined) return undefined
  const cwd = linkOf(pid, 'cwd')
  if (!bound.startsWith('/') && cwd === undefined) return undefined
  const path = resolve(cwd ?? '/', bound)
  const target = qmp(path)
  const no = (why: string, mend: string): Route => ({ target, reachable: false, why, mend })
  if (linkOf(pid, 'ns/mnt') !== undefined && linkOf(pid, 'ns/mnt') !== ownMounts()) {
    const seen = join(`/proc/${pid}/root`, path)
    return isWritable(seen)
      ? { target: qmp(seen), reachable: true, why: 'a socket in the files of its container' }
      : no('its socket is in the files of a container', AS_ITS_USER)
  }
  const same = mine.filter(socket => socket.path === bound)
  if (descriptors !== undefined && !same.some(({ listens }) => listens))
    return no('it no longer listens on this socket', START_WITH_QMP)
  const state = socketAt(path)
  if (state === 'gone') return no('its socket is gone from the folder', START_WITH_QMP)
  if (state === 'closed') return no('the socket is closed to this user', AS_ITS_USER)
  const by = stoppedBy(pid)
  if (by !== undefined)
    return no(`its QEMU is stopped by ${by}, and answers nobody`, goOn(pid, by).replace(/\.$/, ''))
  const busy = same.some(({ listens }) => !listens)
  return busy
    ? no(
        'the monitor has a client, and serves one at a time',
        `End that client, or give the VM a monitor of its own. ${START_WITH_QMP}`,
      )
    : { target, reachable: true, why: 'a socket that is open to this user' }
}

const ownMounts = (): string | undefined => linkOf(process.pid, 'ns/mnt')

/** Whether a client of this user can connect to the socket at `path`. */
function socketAt(path: string): 'open' | 'closed' | 'gone' {
  try {
    if (!statSync(path).isSocket()) return 'gone'
  } catch (error) {
    return codeOf(error) === 'EACCES' ? 'closed' : 'gone'
  }
  return isWritable(path) ? 'open' : 'closed'
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}
