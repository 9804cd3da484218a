/** A folder for the files of a comparison. */

import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { argumentError } from '../../ground/errors.js'
import { systemReason } from '../failure.js'

/** Makes an empty folder. Rejects with ERR_ARGUMENT where nothing can be written. */
export async function scratchFolder(): Promise<string> {
  const place = tmpdir()
  try {
    return await mkdtemp(join(place, 'dirtyrate-'))
  } catch (error) {
    throw argumentError(
      `TMPDIR: no folder can be made in '${place}': ${systemReason(error as NodeJS.ErrnoException)}`,
      'Set the variable TMPDIR to a folder that can be written to and has room.',
    )
  }
}
