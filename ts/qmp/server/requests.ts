/** Bytes in, the requests of a client out, and QEMU's texts for what is no JSON. */

import type { Json } from './json.js'
import { JsonParseError, parseTokens, strayError } from './json-parser.js'
import { Lexer, type Token } from './lexer.js'

/** A JSON value, or why there is none. */
export type Request = { readonly value: Json } | { readonly error: string }

/** The bytes of one request. No command needs a thousandth of it, and QEMU allows 64 MiB. */
export const MAX_REQUEST_BYTES: number = 2 ** 20
/** The tokens of one request. QEMU allows 2 million of them. */
export const MAX_REQUEST_TOKENS = 10_000
/** How deep objects and arrays may lie in each other: as in QEMU. */
export const MAX_REQUEST_DEPTH = 1024

/** A request is longer than any that a command needs: nobody can say where the next one begins. */
export class RequestTooLongError extends Error {
  override readonly name = 'RequestTooLongError'

  constructor() {
    super('JSON token size limit exceeded')
  }
}

export class RequestStream {
  readonly #lexer = new Lexer()
  #tokens: Token[] = []
  #bytes = 0
  #braces = 0
  #brackets = 0

  #take(token: Token): Request | undefined {
    if (token.kind === 'stray') {
      this.#forget()
      return { error: strayError(token).message }
    }
    this.#count(token)
    this.#bytes += token.bytes.length
    this.#requireShort()
    if (this.#braces + this.#brackets > MAX_REQUEST_DEPTH) {
      this.#forget()
      return { error: 'JSON nesting depth limit exceeded' }
    }
    if (this.#tokens.push(token) > MAX_REQUEST_TOKENS) {
      this.#forget()
      return { error: 'JSON token count limit exceeded' }
    }
    const isOpen = this.#braces >= 0 && this.#brackets >= 0 && this.#braces + this.#brackets > 0
    return isOpen ? undefined : parsed(this.#forget())
  }

  /**
   * The requests that end within `chunk`, each when it is asked for. Throws
   * {@link RequestTooLongError}.
   */
  *push(chunk: Uint8Array): Generator<Request> {
    for (const token of this.#lexer.push(chunk)) {
      const request = this.#take(token)
      if (request !== undefined) yield request
    }
    this.#requireShort(this.#lexer.pending)
  }

  #count({ kind, bytes }: Token): void {
    if (kind !== 'mark') return
    switch (bytes.toString('latin1')) {
      case '{':
        this.#braces++
        break
      case '}':
        this.#braces--
        break
      case '[':
        this.#brackets++
        break
      case ']':
        this.#brackets--
        break
      default:
    }
  }

  #requireShort(more = 0): void {
    if (this.#bytes + more > MAX_REQUEST_BYTES) throw new RequestTooLongError()
  }

  /** Begins anew, and returns the tokens so far. */
  #forget(): readonly Token[] {
    const tokens = this.#tokens
    this.#tokens = []
    this.#bytes = 0
    this.#braces = 0
    this.#brackets = 0
    return tokens
  }
}

function parsed(tokens: readonly Token[]): Request {
  try {
    return { value: parseTokens(tokens) }
  } catch (error) {
    if (error instanceof JsonParseError) return { error: error.message }
    throw error
  }
}
