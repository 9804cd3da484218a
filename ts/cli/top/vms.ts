/** The VMs of this host that `top` measures, and those that it cannot reach. */

import { DirtyRateError } from '../../ground/errors.js'
import { MOUNT_PROC } from '../../ground/proc.js'
import { processKey } from '../../host/discovery/processes.js'
import { listVms, PROC_UNMOUNTED } from '../../host/vm-list.js'
import type { FleetTarget } from '../serve/fleet.js'
import type { Settings } from '../serve/settings.js'

/** A VM that no target reaches. */
export interface Unreached {
  readonly key: string
  readonly label: string
  readonly name: string | undefined
  readonly why: string
}

export interface Seen {
  readonly targets: readonly FleetTarget[]
  readonly unreached: readonly Unreached[]
}

/** Looks at the host once. Throws ERR_TARGET_ABSENT where nobody can know which VMs there are. */
export async function vmsOfHost(settings: Settings): Promise<Seen> {
  const { vms, visibleProcesses } = await listVms()
  if (visibleProcesses === 'none') {
    const hint = `Mount it: ${MOUNT_PROC}`
    throw new DirtyRateError('ERR_TARGET_ABSENT', `top: ${PROC_UNMOUNTED}`, { hint })
  }
  const targets: FleetTarget[] = []
  const unreached: Unreached[] = []
  for (const { pid, name, noMemory, targets: routes } of vms) {
    if (noMemory) continue
    const key = processKey(pid)
    const uri = routes.find(({ reachable }) => reachable)?.target
    if (uri !== undefined) targets.push({ key, uri, label: uri, name, isNamed: false, settings })
    else {
      const [first] = routes
      const why = first?.why ?? 'no kind of target knows it'
      unreached.push({ key, label: first?.target ?? `pid:${pid}`, name, why })
    }
  }
  return { targets, unreached }
}
