/**
 * The domains of libvirt that run on this host, without libvirt: by the files in which it keeps the
 * process of each domain.
 */

import { join } from 'node:path'
import { namesIn, readText } from '../ground/proc.js'
import { textOfXml } from '../ground/xml.js'

/** A domain of libvirt's system daemon, or of the session of a user. */
export interface LibvirtDomain {
  readonly name: string
  readonly session: boolean
}

/** libvirt's own process has a file beside those of the domains. */
const DAEMON = 'driver'

/** The domains by the process of each. A file that outlived its process is in it too. */
export function libvirtDomains(): Map<number, LibvirtDomain> {
  const found = new Map<number, LibvirtDomain>()
  const read = (folder: string, session: boolean): void => {
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
  for (const user of namesIn('/run/user')) read(join('/run/user', user, 'libvirt/qemu/run'), true)
  const own = process.env.XDG_RUNTIME_DIR
  if (own !== undefined && own !== '') read(join(own, 'libvirt/qemu/run'), true)
  read('/run/libvirt/qemu', false)
  return found
}
