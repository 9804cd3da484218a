/** Looks for the VMs of all sources. */

import { type Address, isBoundAt } from '../../ground/listener.js'
import { parseAddress } from '../../targets/qmp/address.js'
import { parseTargetUri } from '../../targets/uri.js'
import { findVms, type VmProcess } from '../virtual-machines.js'
import { findDomains } from './domains.js'
import { findProcesses, processKey } from './processes.js'
import { findSockets } from './sockets.js'
import type { FoundVm, Source } from './sources.js'

/** What a source has led to. */
export type Outcome = { readonly found: readonly FoundVm[] } | { readonly error: unknown }

/** What was found, and which VM a target has that somebody named. */
export interface Discovered {
  /** In the order of the sources. */
  readonly outcomes: readonly Outcome[]
  /** What the target has in common with others of its VM; undefined if that is not known. */
  vmOf(uri: string): string | undefined
}

/** Looks into all sources. One that fails does not disturb the others. */
export async function discover(
  sources: readonly Source[],
  signal: AbortSignal,
): Promise<Discovered> {
  const { vms } = await findVms()
  const outcomes = await Promise.all(
    sources.map(async (source): Promise<Outcome> => {
      try {
        return { found: await findIn(source, vms, signal) }
      } catch (error) {
        signal.throwIfAborted()
        return { error }
      }
    }),
  )
  return { outcomes, vmOf: uri => vmOf(uri, vms) }
}

/**
 * Each list without the VMs that are `taken` or in a list before it. So a VM that two sources lead
 * to belongs to the first of them.
 */
export function withoutTwice(
  lists: readonly (readonly FoundVm[])[],
  taken: readonly (string | undefined)[],
): FoundVm[][] {
  const seen = new Set(taken)
  return lists.map(list =>
    list.filter(({ vm }) => {
      const isNew = !seen.has(vm)
      seen.add(vm)
      return isNew
    }),
  )
}

function findIn(
  source: Source,
  vms: readonly VmProcess[],
  signal: AbortSignal,
): readonly FoundVm[] | Promise<readonly FoundVm[]> {
  if (source.kind === 'libvirt') return findDomains(source, vms, signal)
  return source.kind === 'qmp' ? findSockets(source, vms) : findProcesses(source, vms)
}

/** What a target that somebody named has in common with others of its VM. */
function vmOf(uri: string, vms: readonly VmProcess[]): string | undefined {
  const { scheme, name } = parseTargetUri(uri)
  const pid = scheme === 'pid' ? Number(name) : vms.find(vm => isVm(vm, scheme, name))?.pid
  return pid === undefined ? undefined : processKey(pid)
}

/** Undefined if it is none: whoever opens it is told so. */
function addressOf(name: string): Address | undefined {
  try {
    return parseAddress(name)
  } catch {
    return undefined
  }
}

function isVm(vm: VmProcess, scheme: string, name: string): boolean {
  if (scheme === 'libvirt')
    return vm.uuid === name || (vm.libvirt !== undefined && vm.name === name)
  if (scheme !== 'qmp') return false
  const address = addressOf(name)
  if (address === undefined) return false
  return vm.monitors.some(place => {
    if ('path' in place) return 'path' in address && isBoundAt(vm.pid, place.path, address.path)
    return 'port' in place && 'port' in address && place.port === address.port
  })
}
