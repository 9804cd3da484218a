/** The lines of a file, one by one, however long the file is. */

import { createReadStream } from 'node:fs'

/**
 * A line, or undefined where one is too long to be one. Ends with an error if `signal` is aborted.
 */
export async function* linesOf(
  file: string,
  mostBytes: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<string | undefined, void, undefined> {
  let parts: Buffer[] = []
  let bytes = 0
  const line = (): string | undefined => {
    const isWhole = bytes <= mostBytes
    const text = isWhole ? Buffer.concat(parts).toString('utf8') : undefined
    parts = []
    bytes = 0
    return text
  }
  for await (const chunk of createReadStream(file, signal === undefined ? {} : { signal })) {
    let from = 0
    const read = chunk as Buffer
    for (;;) {
      const end = read.indexOf(0x0a, from)
      const part = read.subarray(from, end === -1 ? undefined : end)
      bytes += part.length
      if (bytes <= mostBytes) parts.push(part)
      else parts = []
      if (end === -1) break
      yield line()
      from = end + 1
    }
  }
  if (bytes > 0) yield line()
}
