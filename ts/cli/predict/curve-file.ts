/** Reads a saved curve, or the last one of a recording. */

import type { PackedEvent } from '../../dashboard/records.js'
import { show } from '../../ground/arguments.js'
import { argumentError, isError } from '../../ground/errors.js'
import type { PredictionCurve } from '../../prediction/input.js'
import type { PublishedCurve } from '../../prediction/published-curve.js'
import { readNamedFile, unreadable } from '../named-file.js'
import { isRecording, readRecording } from '../recording/read.js'

/** More than any curve has: 1000 points of 16,384 regions are half of it. */
const MOST_BYTES = 2 ** 28

/**
 * The document in `file`. If the file is a recording, it is the last curve of `target`, which has
 * to be given if there are curves of several targets. Rejects with ERR_ARGUMENT, which calls the
 * file `name`, or with the reason of `signal`.
 */
export async function readCurveFile(
  file: string,
  name: string,
  signal: AbortSignal,
  target?: string,
): Promise<PredictionCurve | PublishedCurve> {
  if (file === '') throw argumentError(`${name}: it is empty`, 'Give the path of a file.')
  if (await isRecordingAt(file, name)) return lastCurveIn(file, name, signal, target)
  if (target !== undefined)
    throw argumentError(`--target: '${file}' is no recording`, 'Leave it out.')
  const bytes = await readNamedFile(file, name, MOST_BYTES, signal)
  if (bytes === undefined) {
    throw argumentError(
      `${name}: '${file}' has more than ${MOST_BYTES} bytes`,
      'Give a curve with fewer points.',
    )
  }
  let document: unknown
  try {
    // Some editors begin a file with a byte order mark, which is no JSON.
    document = JSON.parse(bytes.toString('utf8').replace(/^\uFEFF/, ''))
  } catch (error) {
    throw argumentError(
      `${name}: '${file}' is not JSON: ${(error as Error).message}`,
      'Give what dirtyrate curve TARGET --json prints.',
    )
  }
  return document as PredictionCurve
}

/** Rejects with ERR_ARGUMENT if the system says that the file cannot be read. */
async function isRecordingAt(file: string, name: string): Promise<boolean> {
  try {
    return await isRecording(file)
  } catch (error) {
    if (!(isError(error) && 'errno' in error)) throw error
    throw unreadable(file, name, error as NodeJS.ErrnoException)
  }
}

async function lastCurveIn(
  file: string,
  name: string,
  signal: AbortSignal,
  target: string | undefined,
): Promise<PredictionCurve> {
  const curves = new Map<string, PredictionCurve>()
  const memory = new Map<string, { bytes: number }>()
  const take = (event: PackedEvent): void => {
    if (event.kind === 'target') memory.set(event.target, { bytes: event.memoryBytes })
    if (event.kind === 'curve') curves.set(event.target, event.curve)
  }
  await readRecording(file, name, take, signal)
  if (curves.size === 0) {
    const hint = 'A server records a curve every five minutes, or as --curve-every says.'
    throw argumentError(`${name}: '${file}' has no curve`, hint)
  }
  const [chosen] = target === undefined && curves.size === 1 ? curves.keys() : [target ?? '']
  const curve = curves.get(chosen ?? '')
  if (curve !== undefined) return { memory: memory.get(chosen ?? ''), ...curve }
  const wrong = target === undefined ? 'several targets' : `no curve of ${show(target)}`
  throw argumentError(
    `--target: '${file}' has ${wrong}`,
    `Give one of these: ${[...curves.keys()].join(', ')}.`,
  )
}
