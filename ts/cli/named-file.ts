/** Reads a file that the command line names. */

import { argumentError, isError } from '../ground/errors.js'
import { readFileWithin } from '../ground/read-file.js'
import { systemReason } from './failure.js'

/**
 * The contents of `file`, which the user has given as `name`; undefined if it has more than `most`
 * bytes. Rejects with ERR_ARGUMENT if it cannot be read, or with the reason of `signal`.
 */
export async function readNamedFile(
  file: string,
  name: string,
  most: number,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  try {
    return await readFileWithin(file, most, signal)
  } catch (error) {
    if (!(isError(error) && 'errno' in error)) throw error
    throw unreadable(file, name, error as NodeJS.ErrnoException)
  }
}

/** The error of a file, or of one of `what`, that cannot be read. */
export function unreadable(
  file: string,
  name: string,
  error: NodeJS.ErrnoException,
  what = 'a file',
): Error {
  return argumentError(
    `${name}: '${file}' cannot be read: ${systemReason(error)}`,
    hintOf(error, what),
  )
}

function hintOf({ code }: NodeJS.ErrnoException, what: string): string {
  if (code === 'EACCES' || code === 'EPERM')
    return 'This user may not read it: run the command as a user who may, or copy it as that user.'
  if (code === 'ENOENT' || code === 'ENOTDIR') return `Give the path of ${what} that exists.`
  if (code === 'EISDIR') return 'This is a folder. Give the path of a file.'
  return `Give the path of ${what} that can be read.`
}
