/** `dirtyrate list`: the VMs on this host, and the targets that reach them. */

import { setTimeout as sleep } from 'node:timers/promises'
import { DirtyRateError, hasCode } from '../ground/errors.js'
import { AS_ROOT_COMMAND } from '../ground/groups.js'
import { MOUNT_PROC } from '../ground/proc.js'
import type { Route } from '../host/reach.js'
import { type ListedVm, listVms, PROC_UNMOUNTED, type VmList } from '../host/vm-list.js'
import { VMM_NAMES } from '../targets/process/vmms/programs.js'
import { EXIT_OK } from './exit.js'
import type { Session } from './session.js'
import { named } from './table.js'
import { count, shellWord, size, visible } from './text.js'

export interface ListOptions {
  watch: boolean
}

/** What is said of a host whose processes cannot be seen. */
const HIDDEN = `Other users may run virtual machines that are not known here, because /proc hides their processes from this user (hidepid): ${AS_ROOT_COMMAND} list`
const NO_PROC = `${PROC_UNMOUNTED}: ${MOUNT_PROC}`

/** How often the host is looked at with --watch. */
const EVERY_MS = 1000
/** The column in which the reasons begin, unless a target is longer. */
const WHY_BEGINS = 30

export async function runList(session: Session, { watch }: ListOptions): Promise<number> {
  if (!watch) {
    const list = await listVms()
    for (const line of lines(list, session)) session.print(line)
    session.document(list)
    return EXIT_OK
  }
  session.streamDocuments()
  let last = ''
  for (;;) {
    const list = await listVms()
    const text = JSON.stringify(list)
    if (text !== last) {
      last = text
      session.screen(() => lines(list, session))
      session.document(list)
      await session.delivered()
    }
    await sleep(EVERY_MS, undefined, { signal: session.signal }).catch(() => {})
    if (session.signal.aborted) throw endOf(session.signal.reason)
  }
}

/** A signal is the usual end of --watch, and nothing was measured. */
function endOf(reason: unknown): unknown {
  if (!hasCode(reason, 'ERR_CANCELLED')) return reason
  return new DirtyRateError('ERR_CANCELLED', 'interrupted', { hint: 'Nothing was connected to.' })
}

function lines({ vms, closedProcesses, visibleProcesses }: VmList, session: Session): string[] {
  const all = vms.flatMap((vm, at) => [...(at === 0 ? [] : ['']), ...vmLines(vm, session)])
  if (session.options.quiet) return all
  const none =
    vms.length === 0 && visibleProcesses === 'all'
      ? ['No virtual machine was found on this host.']
      : []
  const closed =
    closedProcesses === 0
      ? []
      : [
          `${count(closedProcesses)} ${closedProcesses === 1 ? 'process' : 'processes'} of other users could not be looked into, and may run more: ${AS_ROOT_COMMAND} list`,
        ]
  const unseen = { all: [], own: [HIDDEN], none: [NO_PROC] }[visibleProcesses]
  const notes = [...closed, ...unseen]
  const gap = all.length > 0 && notes.length > 0 ? [''] : []
  return [...all, ...none, ...gap, ...notes]
}

/** A line about the VM, then one line for each target. */
function vmLines(vm: ListedVm, session: Session): string[] {
  const { pid, vmm, name, program, accelerator, memoryBytes, vcpus, uid, user, targets } = vm
  const facts = [
    vmm === 'other' ? `another user of KVM (${program})` : VMM_NAMES[vmm],
    ...(accelerator === undefined || vmm === 'other' ? [] : [accelerator.toUpperCase()]),
    ...(memoryBytes === undefined ? [] : [size(memoryBytes)]),
    ...(vcpus === undefined ? [] : [`${count(vcpus)} ${vcpus === 1 ? 'vCPU' : 'vCPUs'}`]),
    `process ${pid} of ${user ?? `user ${uid}`}`,
  ]
  const title = `${session.bold(visible(name ?? '(no name)'))}  ${visible(facts.join(', '))}`
  return [title, ...targets.flatMap(route => routeLines(route, session))]
}

function routeLines({ target, reachable, why, mend }: Route, session: Session): string[] {
  const word = `  ${shellWord(target)}`
  const begin = Math.max(WHY_BEGINS, word.length + 2)
  const text = reachable ? `yes: ${why}` : `no: ${why}. ${mend ?? ''}`.trimEnd()
  return named(word, visible(text), begin, session.columns)
}
