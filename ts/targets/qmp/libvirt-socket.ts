/**
 * Sockets that libvirt has for its own use. A client that connects to one waits in QEMU's queue. If
 * libvirtd restarts meanwhile, QEMU serves the client first, and each command of libvirt on that
 * domain waits for it.
 */

import { readdirSync, readFileSync, realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { hostProcess } from '../../ground/host-process.js'
import { textOfXml } from '../../ground/xml.js'

/** Where libvirt cuts a name off in the name of the folder. */
const LONGEST_NAME = 20

/**
 * The folders in which libvirt keeps the state of running domains: of the system, and of this
 * user's session.
 */
function stateFolders(): readonly string[] {
  const session = hostProcess.env.XDG_RUNTIME_DIR
  return [
    '/run/libvirt/qemu',
    '/var/run/libvirt/qemu',
    ...(session === undefined ? [] : [join(session, 'libvirt/qemu/run')]),
  ]
}

/**
 * The name, or the id, of the domain to which the socket at `path` belongs; undefined if it is none
 * of libvirt's.
 */
export function libvirtDomainOf(
  path: string,
  states: readonly string[] = stateFolders(),
): string | undefined {
  const real = realPath(path)
  for (const folder of states) {
    for (const file of domainFiles(folder)) {
      if (monitorsIn(file).some(monitor => realPath(monitor) === real))
        return basename(file, '.xml')
    }
  }
  // Only root can read those files. The folder of a domain's socket says enough:
  // libvirt/qemu/…/domain-ID-NAME/monitor.sock.
  if (basename(real) !== 'monitor.sock' || !/\/libvirt\/qemu\//.test(real)) return undefined
  const [, id, name = ''] = /^domain-(\d+)-(.+)$/.exec(basename(dirname(real))) ?? []
  // libvirt takes the id of a domain as well as its name.
  return name.length < LONGEST_NAME ? name || undefined : id
}

function domainFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter(name => name.endsWith('.xml'))
      .map(name => join(folder, name))
  } catch {
    return []
  }
}

/** The sockets that a domain's state names as its monitor. */
function monitorsIn(file: string): string[] {
  try {
    return [...readFileSync(file, 'utf8').matchAll(/<monitor path='([^']*)'/g)].map(([, path]) =>
      textOfXml(path ?? ''),
    )
  } catch {
    return []
  }
}

function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}
