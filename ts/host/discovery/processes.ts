/** VMs by their processes. */

import { basename } from 'node:path'
import { isChosen, matches } from '../../ground/pattern.js'
import { argumentsOf, linkOf, processIds, programOf, readText } from '../../ground/proc.js'
import type { VmProcess } from '../virtual-machines.js'
import type { FoundVm, ProcessSource } from './sources.js'

/** Identifies a process also after another one has got its number. */
export function processKey(pid: number): string {
  // proc_pid_stat(5): the start is the field 22, and the name in brackets may have spaces.
  const fields = readText(`/proc/${pid}/stat`)
    ?.replace(/^.*\) /s, '')
    .split(' ')
  return `pid:${pid}@${fields?.[19] ?? ''}`
}

/** Whether the process of a VM goes on, as far as its process is known. */
export function mayGoOn({ vm }: Pick<FoundVm, 'vm'>): boolean {
  const [, pid] = /^pid:(\d+)@/.exec(vm) ?? []
  return pid === undefined || processKey(Number(pid)) === vm
}

/** The processes of a source. Processes in which no guest memory is found are left out. */
export function findProcesses(source: ProcessSource, vms: readonly VmProcess[]): FoundVm[] {
  const { vmm, command } = source
  const known = vms.filter(({ program, noMemory, ...vm }) => {
    if (noMemory === true) return false
    if (vmm !== undefined) return vmm.includes(vm.vmm ?? 'other')
    return command === undefined || isCommand(basename(program), command)
  })
  const pids = new Map(known.map(({ pid, name }) => [pid, name]))
  if (vmm === undefined && command !== undefined) {
    for (const pid of processIds()) {
      if (pid === process.pid || pids.has(pid) || vms.some(vm => vm.pid === pid)) continue
      const [word] = argumentsOf(pid) ?? []
      if (word === undefined) continue
      const program = basename(programOf(linkOf(pid, 'exe') ?? word))
      if (isCommand(program, command)) pids.set(pid, undefined)
    }
  }
  return [...pids].flatMap(([pid, name]) => {
    if (!isChosen(name ?? '', source)) return []
    const key = processKey(pid)
    return [{ uri: `pid:${pid}`, key, vm: key, name }]
  })
}

const isCommand = (program: string, patterns: readonly string[]): boolean =>
  patterns.some(pattern => matches(program, pattern))
