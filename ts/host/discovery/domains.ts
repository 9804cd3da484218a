/** VMs by a libvirt that runs them. */

import { isChosen } from '../../ground/pattern.js'
import { defaultConnection } from '../../targets/libvirt/connection.js'
import { activeDomains } from '../../targets/libvirt/domain-list.js'
import { uriOf } from '../../targets/libvirt/ways.js'
import type { VmProcess } from '../virtual-machines.js'
import { processKey } from './processes.js'
import type { FoundVm, LibvirtSource } from './sources.js'

/** The domains of a source that run. Rejects if its libvirt does not answer. */
export async function findDomains(
  source: LibvirtSource,
  vms: readonly VmProcess[],
  signal: AbortSignal,
): Promise<FoundVm[]> {
  const uri = source.connect ?? defaultConnection()
  const domains = await activeDomains(uri, signal)
  return domains
    .filter(({ name }) => isChosen(name, source))
    .map(({ name, uuid }) => {
      const pid = vms.find(vm => vm.uuid === uuid)?.pid
      const target = uriOf({ uri }, { name, uuid }, source.options)
      const key = `${target} ${uuid}`
      return { uri: target, key, vm: pid === undefined ? key : processKey(pid), name }
    })
}
