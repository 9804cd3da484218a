/**
 * Reads a file that a user names. It may be a pipe into which nobody writes: opening or reading one
 * in the usual way holds up a thread of Node, and then the process cannot even exit.
 */

import { close, constants, createReadStream, fstat, open } from 'node:fs'
import { Socket } from 'node:net'
import { addAbortSignal, type Readable } from 'node:stream'
import { isatty, ReadStream } from 'node:tty'
import { promisify } from 'node:util'

/**
 * The contents of `file`; undefined if it has more than `most` bytes. Rejects with the system's
 * error, or with the reason of `signal`.
 */
export async function readFileWithin(
  file: string,
  most: number,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  signal.throwIfAborted()
  // With this flag a pipe without a writer is open at once. Other files take no notice of it.
  const descriptor = await promisify(open)(file, constants.O_RDONLY | constants.O_NONBLOCK)
  const stream = addAbortSignal(signal, await streamOf(descriptor))
  const parts: Buffer[] = []
  let bytes = 0
  try {
    for await (const part of stream) {
      bytes += (part as Buffer).length
      if (bytes > most) return undefined
      parts.push(part as Buffer)
    }
  } catch (error) {
    signal.throwIfAborted()
    throw error
  }
  return Buffer.concat(parts)
}

/** What reads `descriptor`, and closes it. Waiting for a pipe or a terminal holds no thread. */
async function streamOf(descriptor: number): Promise<Readable> {
  try {
    if ((await promisify(fstat)(descriptor)).isFIFO())
      return new Socket({ fd: descriptor, readable: true, writable: false })
    if (isatty(descriptor)) return new ReadStream(descriptor)
  } catch (error) {
    close(descriptor)
    throw error
  }
  return createReadStream('', { fd: descriptor })
}
