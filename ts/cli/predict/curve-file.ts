/** Reads a saved curve. */

import { type FileHandle, open } from 'node:fs/promises'
import { argumentError, isError } from '../../ground/errors.js'
import type { PredictionCurve } from '../../prediction/input.js'
import type { PublishedCurve } from '../../prediction/published-curve.js'
import { systemReason } from '../failure.js'

/** More than any curve has: 1000 points of 16,384 regions are half of it. */
const MOST_BYTES = 2 ** 28

/** The document in `file`. Rejects with ERR_ARGUMENT, which calls it `name`. */
export async function readCurveFile(
  file: string,
  name: string,
): Promise<PredictionCurve | PublishedCurve> {
  if (file === '') throw argumentError(`${name}: it is empty`, 'Give the path of a file.')
  const text = await read(file, name)
  let document: unknown
  try {
    // Some editors begin a file with a byte order mark, which is no JSON.
    document = JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch (error) {
    throw argumentError(
      `${name}: '${file}' is not JSON: ${(error as Error).message}`,
      'Give what dirtyrate curve TARGET --json prints.',
    )
  }
  return document as PredictionCurve
}

async function read(file: string, name: string): Promise<string> {
  try {
    const handle = await open(file, 'r')
    try {
      return await readAll(handle, `${name}: '${file}'`)
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (!(isError(error) && 'errno' in error)) throw error
    throw argumentError(
      `${name}: '${file}' cannot be read: ${systemReason(error as NodeJS.ErrnoException)}`,
      'Give the path of a file that exists.',
    )
  }
}

async function readAll(handle: FileHandle, shown: string): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of handle.createReadStream({ autoClose: false })) {
    bytes += (part as Buffer).length
    if (bytes > MOST_BYTES) {
      throw argumentError(
        `${shown} has more than ${MOST_BYTES} bytes`,
        'Give a curve with fewer points.',
      )
    }
    parts.push(part as Buffer)
  }
  return Buffer.concat(parts).toString('utf8')
}
