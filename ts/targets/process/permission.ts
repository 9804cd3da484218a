/** The errors for a process that this one may not look at, or that is not there. */

import { DirtyRateError, hasCode } from '../../ground/errors.js'
import { fromNative } from '../../ground/native-errors.js'
import { mendFor, subjectOf, thisReader } from './rights.js'

/** What opens a process to this one. */
function permissionHint(pid: number): string {
  return `${mendFor(thisReader(), subjectOf(pid))}. dirtyrate doctor shows the rights of this user.`
}

/** The error of a file of `/proc` that may not be read. */
export function forbidden(pid: number, what: string, cause: unknown): DirtyRateError {
  return new DirtyRateError('ERR_TARGET_PERMISSION', `no permission to read ${what}`, {
    hint: permissionHint(pid),
    cause,
  })
}

/** What to give instead of a number that no process has. */
export const ABSENT_HINT: string =
  'Give the number of a process that runs, as this program sees it: a container has other numbers than its host (NSpid in /proc/N/status).'

/** The file by which the soft-dirty bits of a process are cleared. */
const CLEAR_REFS = /\/clear_refs$/

/** An error of the binding, with the hint that this host needs if it is about the process. */
export function explained(pid: number, error: unknown): unknown {
  const said = fromNative(error)
  if (said instanceof DirtyRateError && CLEAR_REFS.test(String(said.details.call))) {
    return new DirtyRateError(said.code, `no permission to write ${said.details.call}`, {
      hint: 'Run as root, as the user of the process, or with CAP_DAC_OVERRIDE: only they may clear its soft-dirty bits. page-sampling needs no such right.',
      details: said.details,
      cause: error,
    })
  }
  const hint = hasCode(said, 'ERR_TARGET_PERMISSION')
    ? permissionHint(pid)
    : hasCode(said, 'ERR_TARGET_ABSENT') && said !== error
      ? ABSENT_HINT
      : undefined
  if (hint === undefined) return said
  const { code, message, details } = said as DirtyRateError
  return new DirtyRateError(code, message, { hint, details, cause: error })
}
