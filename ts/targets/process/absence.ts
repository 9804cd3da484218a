/** Why a number cannot be measured as a process, although something may have this number. */

import { codeOf, DirtyRateError } from '../../ground/errors.js'
import { hostProcess } from '../../ground/host-process.js'
import { MOUNT_PROC, readText } from '../../ground/proc.js'

/** What to give instead of a number that no process has. */
const ABSENT_HINT =
  'Give the number of a process that runs, as this program sees it: a container has other numbers than its host (NSpid in /proc/N/status).'

/** The place of `flags` among the fields of `stat` that follow the name, and a flag in it. */
const FLAGS_AFTER_NAME = 6
const PF_KTHREAD = 0x0020_0000

interface Reason {
  readonly message: string
  readonly hint: string
}

/**
 * The error of a number that no process with memory has. `message` says so, unless `/proc` tells
 * more about it.
 */
export function absent(
  pid: number,
  cause?: unknown,
  message = `there is no process ${pid}`,
): DirtyRateError {
  const reason = reasonOf(pid)
  return new DirtyRateError('ERR_TARGET_ABSENT', reason?.message ?? message, {
    hint: reason?.hint ?? ABSENT_HINT,
    ...(cause === undefined ? {} : { cause }),
  })
}

/** What `/proc` tells; undefined if it has no such number, or a process of another namespace. */
function reasonOf(pid: number): Reason | undefined {
  if (readText('/proc/self/stat') === undefined) {
    return {
      message: `/proc is not mounted, so nothing is known of process ${pid}`,
      hint: `Mount it: ${MOUNT_PROC}`,
    }
  }
  const status = readText(`/proc/${pid}/status`)
  return status === undefined
    ? hiddenReason(pid)
    : reasonIn(pid, status, readText(`/proc/${pid}/stat`) ?? '')
}

/** What the files `status` and `stat` say of a number that has no memory of its own. */
export function reasonIn(pid: number, status: string, stat: string): Reason | undefined {
  const [, process] = /^Tgid:\t(\d+)$/m.exec(status) ?? []
  if (process !== undefined && Number(process) !== pid) {
    return {
      message: `${pid} is the number of a thread of process ${process}`,
      hint: `Give the number of the process: pid:${process}`,
    }
  }
  if (/^State:\tZ/m.test(status)) {
    return {
      message: `process ${pid} is a zombie: it has ended, and its parent has not asked how`,
      hint: 'dirtyrate list shows the virtual machines that run.',
    }
  }
  if (!/^VmSize:/m.test(status)) {
    return {
      message: isOfKernel(stat)
        ? `process ${pid} is a thread of the kernel, and has no memory of its own`
        : `process ${pid} is ending: it has no memory any more`,
      hint: 'dirtyrate list shows the virtual machines that run.',
    }
  }
  return undefined
}

/** Whether the flags in `stat` are those of a thread of the kernel. An ending process has none. */
function isOfKernel(stat: string): boolean {
  // The name in parentheses may have spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[FLAGS_AFTER_NAME]) & PF_KTHREAD) !== 0
}

/** A process that exists, but that `/proc` does not show. */
function hiddenReason(pid: number): Reason | undefined {
  try {
    // Signal 0 is not sent, and only asks whether it could be.
    hostProcess.kill(pid, 0)
  } catch (error) {
    if (codeOf(error) !== 'EPERM') return undefined
  }
  return {
    message: `process ${pid} exists, but /proc does not show it to this user`,
    hint: 'Run as root, as the user of the process, or in the group that the option gid= of /proc names: /proc is mounted with hidepid.',
  }
}
