/** VMs by the sockets of their monitors. Nobody is connected to. */

import { statSync } from 'node:fs'
import { join } from 'node:path'
import { isBoundAt, listenerAt } from '../../ground/listener.js'
import { matches } from '../../ground/pattern.js'
import { namesIn } from '../../ground/proc.js'
import { libvirtDomainListeningAt, libvirtDomainOf } from '../../targets/qemu/libvirt-files.js'
import { formatTargetUri } from '../../targets/uri.js'
import type { VmProcess } from '../virtual-machines.js'
import { processKey } from './processes.js'
import type { FoundVm, SocketSource } from './sources.js'

/** The sockets of a source at which somebody listens who is not a domain of libvirt. */
export function findSockets(source: SocketSource, vms: readonly VmProcess[]): FoundVm[] {
  const paths = new Set(source.sockets.flatMap(filesLike))
  return [...paths].flatMap(path => {
    if ((source.exclude ?? []).some(pattern => matches(path, pattern))) return []
    const file = socketAt(path)
    if (file === undefined) return []
    const vm = vms.find(({ pid, monitors }) =>
      monitors.some(place => 'path' in place && isBoundAt(pid, place.path, path)),
    )
    const pid = vm?.pid ?? strangerAt(path)
    if (pid === undefined) return []
    const uri = formatTargetUri({ scheme: 'qmp', name: path, options: new Map() })
    const key = `${uri} ${file}`
    return [{ uri, key, vm: pid === 0 ? key : processKey(pid), name: vm?.name }]
  })
}

/** A listener that no command line tells: 0 if its process is not known, and none of libvirt's. */
function strangerAt(path: string): number | undefined {
  if (libvirtDomainOf(path) !== undefined) return undefined
  const listener = listenerAt({ path })
  if (listener === undefined || libvirtDomainListeningAt(path) !== undefined) return undefined
  return listener.pid ?? 0
}

/** What tells a socket from a later one at its path; undefined if there is no socket. */
function socketAt(path: string): string | undefined {
  try {
    const file = statSync(path)
    return file.isSocket() ? `${file.dev}:${file.ino}:${file.birthtimeMs}` : undefined
  } catch {
    return undefined
  }
}

/** The paths that a pattern stands for; a `*` stands for no slash. */
function filesLike(pattern: string): string[] {
  let found = ['/']
  for (const part of pattern.split('/').filter(word => word !== '')) {
    found = /[*?]/.test(part)
      ? found.flatMap(folder =>
          namesIn(folder)
            .filter(name => matches(name, part))
            .map(name => join(folder, name)),
        )
      : found.map(folder => join(folder, part))
  }
  return found
}
