/** Makes the hint of ERR_MEMORY, which names the limit of this process's memory. */

import { readText } from './proc.js'

/** The names of limits in /proc/self/limits, and the shell commands that set them. */
const LIMITS = [
  ['Max address space', 'ulimit -v'],
  ['Max data size', 'ulimit -d'],
] as const

/** What to do if memory was refused. If a limit is set, the hint names it. */
export function memoryHint(): string {
  const limits = readText('/proc/self/limits') ?? ''
  const set = LIMITS.flatMap(([line, name]) => {
    const bytes = new RegExp(`^${line} +(\\d+)`, 'm').exec(limits)?.[1]
    return bytes === undefined ? [] : [`${name} is ${Math.floor(Number(bytes) / 1024)} KiB`]
  })
  if (set.length > 0)
    return `Ask for less memory, or raise the limit of this process: ${set.join(', ')}.`
  const overcommit = readText('/proc/sys/vm/overcommit_memory')
  if (overcommit?.trim() === '2') {
    return 'Ask for less memory, or let the kernel promise more than it has: vm.overcommit_memory is 2.'
  }
  return 'Ask for less memory, or free some: neither ulimit -v nor ulimit -d limits this process.'
}
