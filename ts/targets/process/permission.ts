/** What a user needs to read the memory of another process. */

import { readFileSync } from 'node:fs'
import { DirtyRateError, hasCode } from '../../ground/errors.js'
import { hostProcess } from '../../ground/host-process.js'
import { fromNative } from '../../ground/native-errors.js'

const YAMA = '/proc/sys/kernel/yama/ptrace_scope'

/** Yama's `ptrace_scope`; undefined on a kernel without Yama. */
function ptraceScope(): number | undefined {
  try {
    return Number(readFileSync(YAMA, 'utf8'))
  } catch {
    return undefined
  }
}

/** What helps, under a `ptrace_scope`. */
export function permissionHint(
  scope: number | undefined = ptraceScope(),
  isRoot: boolean = hostProcess.geteuid?.() === 0,
): string {
  if (scope === 3)
    return 'kernel.yama.ptrace_scope is 3, which forbids this to everyone until the host is started again.'
  if (isRoot)
    return 'This process is root, but lacks CAP_SYS_PTRACE, or a security module of the kernel protects that process. A container gets the capability by --cap-add SYS_PTRACE. dirtyrate doctor shows the capabilities.'
  const rights =
    'Run as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH. The user of the process may read it too, unless the process has changed its user.'
  return scope === undefined || scope === 0
    ? rights
    : `${rights} But kernel.yama.ptrace_scope is ${scope}, so that also this user needs CAP_SYS_PTRACE.`
}

/** The error of a file of `/proc` that may not be read. */
export function forbidden(what: string, cause: unknown): DirtyRateError {
  return new DirtyRateError('ERR_TARGET_PERMISSION', `no permission to read ${what}`, {
    hint: permissionHint(),
    cause,
  })
}

/** What to give instead of a number that no process has. */
export const ABSENT_HINT: string =
  'Give the number of a process that runs, as this program sees it: a container has other numbers than its host (NSpid in /proc/N/status).'

/** An error of the binding, with the hint that this host needs if it is about another process. */
export function explained(error: unknown): unknown {
  const said = fromNative(error)
  const hint = hasCode(said, 'ERR_TARGET_PERMISSION')
    ? permissionHint()
    : hasCode(said, 'ERR_TARGET_ABSENT') && said !== error
      ? ABSENT_HINT
      : undefined
  if (hint === undefined) return said
  const { code, message, details } = said as DirtyRateError
  return new DirtyRateError(code, message, { hint, details, cause: error })
}
