/** How a failure is reported: two lines for people, one document for programs. */

import { DirtyRateError, errorCodes } from '../ground/errors.js'
import { exitStatus } from './exit.js'
import { documentText } from './json.js'
import { visible } from './text.js'

/** The part of an error that the command reports. */
interface Failure {
  code: string
  message: string
  hint: string
}

/** The longest message that is shown whole: more than a path can have. */
const LONGEST_LINE = 5000

export function failureOf(error: unknown): Failure {
  const { code, message, hint } = (error ?? {}) as Partial<Failure>
  if (errorCodes.some(known => known === code)) return { code, message, hint } as Failure
  // An error without one of our codes was not foreseen.
  const defect = new DirtyRateError('ERR_INTERNAL', message ?? String(error))
  return { code: defect.code, message: defect.message, hint: defect.hint }
}

export function failureStatus(error: unknown): number {
  return exitStatus(failureOf(error).code)
}

/** One line that says what went wrong, and one that says what to do. */
export function failureLines(error: unknown): string {
  const { message, hint } = failureOf(error)
  return `dirtyrate: ${shortened(visible(message))}\n${visible(hint)}\n`
}

/**
 * Shortens a long message to its beginning and its end. It may quote a value that is as long as a
 * command line can be.
 */
function shortened(text: string): string {
  const half = LONGEST_LINE / 2
  return text.length <= LONGEST_LINE ? text : `${text.slice(0, half)} ... ${text.slice(-half)}`
}

export function failureDocument(error: unknown, oneLine: boolean): string {
  return documentText({ error: failureOf(error) }, oneLine)
}

/**
 * The reason in the system's own words: `ENOSPC: no space left on device, write` without the name
 * of the call.
 */
export function systemReason({ code = '', message }: NodeJS.ErrnoException): string {
  const words = message
    .replace(/^(E[A-Z0-9]+|write|read) ?:? ?/, '')
    .replace(/, [a-z]+( '.*')?$/, '')
  if (code === '') return message
  return words === '' || words === code ? code : `${words} (${code})`
}
