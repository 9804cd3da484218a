/** Which of several targets name the same VM, because one VM may be reached in several ways. */

import type { ListedVm } from '../host/vm-list.js'
import { formatAddress, parseAddress } from '../targets/qmp/address.js'
import type { Target } from '../targets/target.js'
import { parseTargetUri } from '../targets/uri.js'

/** The VMs of this host, as far as they are needed to recognise one. */
export type KnownVms = readonly Pick<ListedVm, 'pid' | 'targets'>[]

/**
 * {@link vmOf} for an open target, which knows its process better than the name by which it was
 * opened: a domain has several names, and a monitor several addresses.
 */
export function vmOfOpen({ processId, uri }: Target, vms: KnownVms): string | undefined {
  return processId === undefined ? vmOf(uri, vms) : `pid:${processId}`
}

/**
 * A key for the VM of a target, which is the same for each target of this VM as far as `vms` tell
 * it; undefined for a VM that is made for the target.
 */
export function vmOf(uri: string, vms: KnownVms): string | undefined {
  const place = placeOf(uri)
  if (place === undefined) return undefined
  const vm = vms.find(({ targets }) => targets.some(({ target }) => placeOf(target) === place))
  return vm === undefined ? place : `pid:${vm.pid}`
}

/** What a target names, without the options that say how it is measured. */
function placeOf(uri: string): string | undefined {
  try {
    const { scheme, name, options } = parseTargetUri(uri)
    if (scheme === 'pid') return `pid:${Number(name)}`
    if (scheme === 'qmp') return `qmp:${formatAddress(parseAddress(name))}`
    return scheme === 'libvirt' ? `libvirt:${name},${options.get('connect') ?? ''}` : undefined
  } catch {
    // The target is opened too, which reports the mistake.
    return undefined
  }
}
