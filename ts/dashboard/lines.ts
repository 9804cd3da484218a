/** The lines of a file, one by one, however long the file is. It runs in a browser too. */

import { joined } from './packed-cells.js'

const LINE_FEED = 0x0a

/** A line, or undefined where one is too long to be one. */
export async function* linesOf(
  chunks: AsyncIterable<Uint8Array>,
  mostBytes: number,
): AsyncGenerator<string | undefined, void, undefined> {
  // A byte-order mark is a part of the text, as it is for Node.
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  let parts: Uint8Array[] = []
  let bytes = 0
  const line = (): string | undefined => {
    const text = bytes <= mostBytes ? decoder.decode(joined(parts)) : undefined
    parts = []
    bytes = 0
    return text
  }
  for await (const chunk of chunks) {
    let from = 0
    for (;;) {
      const end = chunk.indexOf(LINE_FEED, from)
      const part = chunk.subarray(from, end === -1 ? undefined : end)
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
