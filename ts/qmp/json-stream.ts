/**
 * Finds where one JSON text ends and the next one begins in a stream of bytes. QMP has no other
 * frame: a peer may send texts with a newline behind them, within them or nowhere, and each text in
 * any number of pieces.
 */

import { Buffer } from 'node:buffer'

/** What a stream accepts before it refuses its peer. */
export interface JsonStreamLimits {
  /** The bytes of one text. */
  readonly maxBytes: number
  /** How deep objects and arrays may lie in each other. */
  readonly maxDepth: number
}

/** QEMU's own limits of one text (`json-streamer.c`): 64 MiB, 1024 levels. */
export const QEMU_LIMITS: JsonStreamLimits = { maxBytes: 64 * 2 ** 20, maxDepth: 1024 }

/**
 * A text that is too long or too deep. The stream cannot go on, because the end of that text is not
 * known.
 */
export class JsonLimitError extends Error {
  override readonly name = 'JsonLimitError'
}

const QUOTE = 0x22
const APOSTROPHE = 0x27
const BACKSLASH = 0x5c
const OPENING: ReadonlySet<number> = new Set([0x7b, 0x5b])
const CLOSING: ReadonlySet<number> = new Set([0x7d, 0x5d])
const SPACE: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d])

/**
 * Bytes in, JSON texts out. The texts are not parsed: what is between two texts and is no JSON
 * comes out as a text too.
 */
export class JsonStream {
  readonly #limits: JsonStreamLimits
  /** The pieces of the text that has begun. */
  #pieces: Buffer[] = []
  #bytes = 0
  #depth = 0
  /**
   * The quote that ends the string in which the stream is, or 0 outside of strings. QEMU also takes
   * apostrophes.
   */
  #quote = 0
  #escaped = false

  constructor(limits: JsonStreamLimits = QEMU_LIMITS) {
    this.#limits = limits
  }

  /** The bytes of the text that has begun and not ended. */
  get pending(): number {
    return this.#bytes
  }

  /** The texts that end within `chunk`. Throws {@link JsonLimitError}. */
  push(chunk: Uint8Array): string[] {
    const texts: string[] = []
    // Where the text that has begun begins in this chunk.
    let from = 0
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at] as number
      if (this.#quote !== 0) {
        this.#inString(byte)
        continue
      }
      if (this.#depth === 0) {
        const begun = this.#bytes + at - from > 0
        // A space, or the beginning of an object, ends what stood there outside of any object.
        if (begun && (SPACE.has(byte) || OPENING.has(byte))) {
          this.#add(chunk.subarray(from, at))
          texts.push(this.#take())
          from = at
        }
        if (SPACE.has(byte)) {
          from = at + 1
          continue
        }
      }
      if (byte === QUOTE || byte === APOSTROPHE) this.#quote = byte
      else if (OPENING.has(byte)) this.#open()
      else if (CLOSING.has(byte) && (this.#depth === 0 || --this.#depth === 0)) {
        this.#add(chunk.subarray(from, at + 1))
        texts.push(this.#take())
        from = at + 1
      }
    }
    this.#add(chunk.subarray(from))
    return texts
  }

  #inString(byte: number): void {
    if (this.#escaped) this.#escaped = false
    else if (byte === BACKSLASH) this.#escaped = true
    else if (byte === this.#quote) this.#quote = 0
  }

  #open(): void {
    this.#depth++
    if (this.#depth > this.#limits.maxDepth)
      throw new JsonLimitError(`a JSON text nests deeper than ${this.#limits.maxDepth} levels`)
  }

  #add(piece: Uint8Array): void {
    if (piece.length === 0) return
    this.#bytes += piece.length
    if (this.#bytes > this.#limits.maxBytes)
      throw new JsonLimitError(`a JSON text is longer than ${this.#limits.maxBytes} bytes`)
    // A copy: the socket uses its buffer again.
    this.#pieces.push(Buffer.from(piece))
  }

  #take(): string {
    const text = Buffer.concat(this.#pieces).toString('utf8')
    this.#pieces = []
    this.#bytes = 0
    return text
  }
}
