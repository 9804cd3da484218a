/** The errors for a process that cannot be measured: which code they have, and what helps. */

import { DirtyRateError } from '../../ground/errors.js'
import { fromNative } from '../../ground/native-errors.js'
import { goOn, stoppedBy } from '../../ground/proc.js'
import { absent } from './absence.js'
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

/** What to do about a process that is no longer what it was when the target was opened. */
function goneHint(message: string): string {
  return message.endsWith('has ended')
    ? 'dirtyrate list shows the virtual machines that run.'
    : 'Open the target again, which finds the memory that the process has now.'
}

/** The error of a process that has ended since the target was opened, or while it was opened. */
export function gone(pid: number, cause: unknown): DirtyRateError {
  const message = `process ${pid} has ended`
  return new DirtyRateError('ERR_TARGET_GONE', message, { hint: goneHint(message), cause })
}

/** The hint for an error about the process; undefined if that of the code is good enough. */
function hintFor(pid: number, { code, message }: DirtyRateError): string | undefined {
  if (code === 'ERR_TARGET_PERMISSION') return permissionHint(pid)
  if (code === 'ERR_PAUSED') return goOn(pid, stoppedBy(pid))
  return code === 'ERR_TARGET_GONE' ? goneHint(message) : undefined
}

/** The file by which the soft-dirty bits of a process are cleared. */
const CLEAR_REFS = /\/clear_refs$/

/** Whether this user may not clear the soft-dirty bits. */
const mayNotClear = (said: unknown): said is DirtyRateError =>
  said instanceof DirtyRateError &&
  said.code === 'ERR_TARGET_PERMISSION' &&
  CLEAR_REFS.test(String(said.details.context))

/** An error of the binding, with the hint that this host needs if it is about the process. */
export function explained(pid: number, error: unknown): unknown {
  const said = fromNative(error)
  if (mayNotClear(said)) {
    return new DirtyRateError(said.code, `no permission to write ${said.details.context}`, {
      hint: 'Run as root, as the user of the process, or with CAP_DAC_OVERRIDE: only they may clear its soft-dirty bits. page-sampling needs no such right.',
      details: said.details,
      cause: error,
    })
  }
  // An error of this package has its hint already.
  if (!(said instanceof DirtyRateError) || said === error) return said
  const { code, message, details } = said
  if (code === 'ERR_TARGET_ABSENT') return absent(pid, error, message)
  const hint = hintFor(pid, said)
  return hint === undefined
    ? said
    : new DirtyRateError(code, message, { hint, details, cause: error })
}
