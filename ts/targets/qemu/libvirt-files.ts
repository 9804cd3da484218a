/**
 * What the files of libvirt say about the domains that run on this host, without libvirt: the
 * process of each, and the socket that libvirt has for its own use.
 */

import { realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { hostProcess } from '../../ground/host-process.js'
import { isBoundAt, listenerAt } from '../../ground/listener.js'
import { argumentsOf, namesIn, readText } from '../../ground/proc.js'
import { textOfXml } from '../../ground/xml.js'
import { parseQemuCommandLine } from './command-line.js'
import { isTakenForAnother } from './domain-names.js'

/** A domain of libvirt's system daemon, or of the session of a user. */
export interface LibvirtDomain {
  readonly name: string
  readonly session: boolean
}

/** A folder in which a libvirt keeps the state of running domains. */
interface StateFolder {
  readonly folder: string
  readonly session: boolean
}

/** The folders of sessions, and then that of the system. A user can read only some of them. */
function stateFolders(): StateFolder[] {
  const own = hostProcess.env.XDG_RUNTIME_DIR
  const users = namesIn('/run/user').map(user => join('/run/user', user))
  const sessions = new Set(own === undefined || own === '' ? users : [...users, own])
  return [
    ...[...sessions].map(at => ({ folder: join(at, 'libvirt/qemu/run'), session: true })),
    ...['/var/run/libvirt/qemu', '/run/libvirt/qemu'].map(folder => ({ folder, session: false })),
  ]
}

/** libvirt's own process has a file beside those of the domains. */
const DAEMON = 'driver'

/** The domains by the process of each. A file that outlived its process is in it too. */
export function libvirtDomains(): Map<number, LibvirtDomain> {
  const found = new Map<number, LibvirtDomain>()
  for (const { folder, session } of stateFolders()) {
    const files = namesIn(folder)
    for (const file of files) {
      const written = /^(.+)\.pid$/s.exec(file)?.[1]
      const pid = Number(readText(join(folder, file)))
      if (written === undefined || written === DAEMON || !(pid > 0)) continue
      // libvirt 9 writes the name of this file, and of no other one, as XML does.
      const name = files.includes(`${written}.xml`) ? written : textOfXml(written)
      found.set(pid, { name, session })
    }
  }
  return found
}

/** Where libvirt cuts a name off in the name of the folder. */
const LONGEST_NAME = 20

/**
 * The name, the UUID or the id of the domain for which libvirt itself has the socket at `path`;
 * undefined if it is none of libvirt's. A client that connects to such a socket waits in QEMU's
 * queue. If libvirtd restarts meanwhile, QEMU serves the client first, and each command of libvirt
 * on that domain waits for it.
 */
export function libvirtDomainOf(
  path: string,
  states: readonly string[] = stateFolders().map(({ folder }) => folder),
): string | undefined {
  const real = realPath(path)
  for (const folder of states) {
    for (const file of domainFiles(folder)) {
      if (monitorsIn(file).some(monitor => realPath(monitor) === real)) return nameIn(file)
    }
  }
  // Only root can read those files. The folder of a domain's socket says enough:
  // libvirt/qemu/…/domain-ID-NAME/monitor.sock.
  if (basename(real) !== 'monitor.sock' || !/\/libvirt\/qemu\//.test(real)) return undefined
  const [, id, name = ''] = /^domain-(\d+)-(.+)$/.exec(basename(dirname(real))) ?? []
  // libvirt takes the id of a domain as well as its name.
  return name.length < LONGEST_NAME && !isTakenForAnother(name) ? name || undefined : id
}

/**
 * The same by the process that listens at the socket, wherever its path leads: the files of a
 * libvirt in a container, or in other mounts, are elsewhere. Undefined if this user may not see
 * whose socket it is.
 */
export function libvirtDomainListeningAt(path: string): string | undefined {
  const pid = listenerAt({ path })?.pid
  const words = pid === undefined ? undefined : argumentsOf(pid)
  if (pid === undefined || words === undefined) return undefined
  const { libvirt, name, uuid, monitors } = parseQemuCommandLine(words)
  if (libvirt === undefined || name === undefined) return undefined
  // libvirt hands its own socket over as a descriptor; a user of libvirt may have added others.
  const isAdded = monitors.some(place => 'path' in place && isBoundAt(pid, place.path, path))
  return isAdded ? undefined : isTakenForAnother(name) ? (uuid ?? name) : name
}

/** The domain that has this file: its name, or its UUID if virsh may take the name for another. */
function nameIn(file: string): string {
  const name = basename(file, '.xml')
  const uuid = /<uuid>([^<]+)<\/uuid>/.exec(readText(file) ?? '')?.[1]
  return isTakenForAnother(name) ? (uuid ?? name) : name
}

function domainFiles(folder: string): string[] {
  return namesIn(folder)
    .filter(name => name.endsWith('.xml'))
    .map(name => join(folder, name))
}

/** The sockets that a domain's state names as its monitor. */
function monitorsIn(file: string): string[] {
  const text = readText(file) ?? ''
  return [...text.matchAll(/<monitor path='([^']*)'/g)].map(([, path]) => textOfXml(path ?? ''))
}

function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}
