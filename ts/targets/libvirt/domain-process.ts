/** The process of a domain that runs on this host. */

import { basename } from 'node:path'
import { DirtyRateError } from '../../ground/errors.js'
import { argumentsOf, goOn, processIds, stoppedBy } from '../../ground/proc.js'

/**
 * The number of the process in which QEMU runs the domain: the one whose command line has the
 * domain's UUID. Throws ERR_TARGET_ABSENT if there is none, and ERR_STATE if there are several.
 */
export function processOf({ name, uuid }: { name: string; uuid: string }): number {
  const found = processesOf(uuid)
  const [pid] = found
  if (pid === undefined) {
    throw new DirtyRateError(
      'ERR_TARGET_ABSENT',
      `outside: no process of this host runs the domain '${name}'`,
      {
        hint: 'Start the domain, or leave outside=yes out: a domain of another host has none here.',
      },
    )
  }
  if (found.length > 1) {
    throw new DirtyRateError(
      'ERR_STATE',
      `outside: several processes run the domain '${name}': ${found.join(', ')}`,
      { hint: 'The domain migrates within this host. Give the process itself: pid:N.' },
    )
  }
  return pid
}

/** The processes of this host that run the domain: two while it migrates within the host. */
export function processesOf(uuid: string): number[] {
  return processIds().filter(pid => hasUuid(pid, uuid))
}

/** Why the domain answers nothing, if a process of it is stopped. */
export function stoppedProcessOf(uuid: string): { why: string; hint: string } | undefined {
  for (const pid of processesOf(uuid)) {
    const by = stoppedBy(pid)
    if (by !== undefined)
      return { why: `its QEMU, process ${pid}, is stopped by ${by}`, hint: goOn(pid, by) }
  }
  return undefined
}

function hasUuid(pid: number, uuid: string): boolean {
  const words = argumentsOf(pid) ?? []
  const at = words.indexOf('-uuid')
  return /^qemu/.test(basename(words[0] ?? '')) && at > 0 && words[at + 1] === uuid
}
