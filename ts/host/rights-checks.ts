/** By which rights this process can look at the memory of other processes. */

import {
  isProcOfThisNamespace,
  MOUNT_PROC,
  ownerOf,
  UNKNOWN_WITHOUT_PROC,
  visibleProcesses,
} from '../ground/proc.js'
import {
  type Access,
  AS_ROOT,
  type Reader,
  RIGHTS,
  type Right,
  rightOf,
} from '../targets/process/rights.js'
import type { Check } from './check.js'
import { SHARE_NAMESPACE } from './reach.js'

/** Any user other than the reader. */
const SOMEBODY = -1

export function rightsChecks(reader: Reader): Check[] {
  const checks = checksOf(reader)
  if (visibleProcesses() !== 'none') return checks
  return checks.map(({ id, name }) => ({
    id,
    name,
    state: 'unknown',
    found: UNKNOWN_WITHOUT_PROC,
    mend: MOUNT_PROC,
  }))
}

function checksOf(reader: Reader): Check[] {
  const own = RIGHTS[rightOf(reader, { uid: reader.uid, dumpable: true, privileged: false })]
  const other = RIGHTS[rightOf(reader, { uid: SOMEBODY, dumpable: true, privileged: true })]
  return [
    capabilitiesCheck(reader),
    scopeCheck(reader),
    namespaceCheck(),
    accessCheck('own-processes', 'processes of this user', own),
    accessCheck('other-processes', 'processes of other users', other),
  ]
}

/** Whether this access is enough to sample the memory of a process. */
export const isEnough = ({ maps, memory, pagemap }: Access): boolean => maps && memory && pagemap

function accessCheck(id: string, name: string, { reader, access, mend }: Right): Check {
  const enough = isEnough(access)
  return {
    id,
    name,
    state: enough ? 'good' : 'missing',
    found: enough ? `their memory can be read: ${reader}` : `their memory is closed: ${reader}`,
    ...(mend === undefined ? {} : { mend }),
  }
}

function capabilitiesCheck({ uid, capabilities }: Reader): Check {
  const has = capabilities.includes('CAP_SYS_PTRACE')
  const list = capabilities.length === 0 ? 'none that matters here' : capabilities.join(', ')
  return {
    id: 'capabilities',
    name: 'capabilities',
    state: has ? 'good' : 'limited',
    found: `user ${uid} has ${list}`,
    ...(has ? {} : { mend: uid === 0 ? (RIGHTS.privileged.mend ?? '') : AS_ROOT }),
  }
}

function scopeCheck({ ptraceScope }: Reader): Check {
  const isOpen = ptraceScope === 0
  const { mend } = ptraceScope === 3 ? RIGHTS.closedScope : RIGHTS.scope
  return {
    id: 'ptrace-scope',
    name: 'ptrace_scope',
    state: isOpen ? 'good' : ptraceScope === 3 ? 'missing' : 'limited',
    found: `${ptraceScope}${isOpen ? ': a user can look at processes of the same user' : ''}`,
    ...(isOpen || mend === undefined ? {} : { mend }),
  }
}

/** Whether /proc shows the processes by the numbers that the kernel's calls take. */
function namespaceCheck(): Check {
  const check = { id: 'pid-namespace', name: 'namespace of processes' }
  if (isProcOfThisNamespace()) {
    // The first process is always there, and /proc can hide it from a user (hidepid).
    if (ownerOf('/proc/1') === undefined) {
      return {
        ...check,
        state: 'limited',
        found: '/proc hides the processes of other users from this one (hidepid)',
        mend: AS_ROOT,
      }
    }
    return { ...check, state: 'good', found: '/proc shows the processes of this namespace' }
  }
  return {
    ...check,
    state: 'missing',
    found: '/proc shows the processes of another namespace',
    mend: SHARE_NAMESPACE,
  }
}
