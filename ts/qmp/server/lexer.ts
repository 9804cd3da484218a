/**
 * Bytes in, tokens of JSON out, by QEMU's rules: strings may have either quote, words are lower
 * case, and what is no token at all is an error that reaches up to the next bracket, brace, colon,
 * comma or control character. A token may come in any number of pieces.
 */

import { Buffer } from 'node:buffer'

/** What a token is. `stray` is what can be no token. */
export type TokenKind = 'mark' | 'string' | 'number' | 'word' | 'stray'

export interface Token {
  readonly kind: TokenKind
  /** The token as it came; a string has its quotes. */
  readonly bytes: Buffer
}

/** Where the lexer is, within a token or between two. */
type State =
  | 'between'
  | 'recovery'
  | 'string'
  | 'escape'
  | 'word'
  | 'sign'
  | 'zero'
  | 'digits'
  | 'point'
  | 'fraction'
  | 'exponent'
  | 'exponent-sign'
  | 'exponent-digits'

/** The state after a byte, or: `ends` with this byte, `ended` before this byte, or `stray`. */
type Step = State | 'ends' | 'ended' | 'stray'

const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39
const isLower = (byte: number): boolean => byte >= 0x61 && byte <= 0x7a
/** A control character, or one of the two bytes that UTF-8 never has. */
const isForbidden = (byte: number): boolean => byte < 0x20 || byte >= 0xfe
/** A mark, and any control character but the tab. */
const endsRecovery = (byte: number): boolean =>
  MARKS.has(byte) || (isForbidden(byte) && byte !== TAB)
const codes = (text: string): ReadonlySet<number> => new Set(Buffer.from(text))
const SPACE = codes(' \t\r\n')
const MARKS = codes('{}[]:,')
const QUOTES = codes('"\'')
const EXPONENT = codes('eE')
const SIGNS = codes('+-')
const TAB = 0x09
const BACKSLASH = 0x5c
const MINUS = 0x2d
const POINT = 0x2e
const ZERO = 0x30

export class Lexer {
  #state: State = 'between'
  /** The quote that ends the string. */
  #quote = 0
  /** The pieces of the token that has begun. */
  #pieces: Buffer[] = []
  #bytes = 0

  /** The bytes of the token that has begun and not ended. */
  get pending(): number {
    return this.#bytes
  }

  /** The tokens that end within `chunk`. The rest is kept once the iteration is over. */
  *push(chunk: Uint8Array): Generator<Token> {
    // Where the token that has begun begins in this chunk.
    let from = 0
    let at = 0
    while (at < chunk.length) {
      // Most bytes of a long request are in strings, and change nothing.
      if (this.#state === 'string') {
        at = this.#endOfPlain(chunk, at)
        if (at === chunk.length) break
      }
      const byte = chunk[at] as number
      const kind = kindOf(this.#state)
      const step = this.#step(byte)
      switch (step) {
        case 'ended':
          yield this.#token(kind, chunk.subarray(from, at))
          this.#state = 'between'
          from = at
          continue
        case 'ends':
          yield this.#token(kind, chunk.subarray(from, ++at))
          this.#state = 'between'
          from = at
          continue
        case 'stray':
          yield this.#token('stray', chunk.subarray(from, ++at))
          this.#state = 'recovery'
          from = at
          continue
        default:
          this.#state = step
          at++
          if (step === 'between' || step === 'recovery') from = at
      }
    }
    const rest = chunk.subarray(from)
    if (rest.length === 0) return
    // A copy: the socket uses its buffer again.
    this.#pieces.push(Buffer.from(rest))
    this.#bytes += rest.length
  }

  /** Where the bytes end, from `at` on, that leave a string as it is. */
  #endOfPlain(chunk: Uint8Array, at: number): number {
    let end = at
    while (end < chunk.length) {
      const byte = chunk[end] as number
      if (byte === this.#quote || byte === BACKSLASH || isForbidden(byte)) break
      end++
    }
    return end
  }

  #token(kind: TokenKind, last: Uint8Array): Token {
    const bytes = Buffer.concat([...this.#pieces, last])
    this.#pieces = []
    this.#bytes = 0
    return { kind, bytes }
  }

  #step(byte: number): Step {
    switch (this.#state) {
      case 'between':
        return this.#begin(byte)
      case 'recovery':
        return endsRecovery(byte) ? this.#begin(byte) : 'recovery'
      case 'string':
        if (isForbidden(byte)) return 'stray'
        if (byte === BACKSLASH) return 'escape'
        return byte === this.#quote ? 'ends' : 'string'
      case 'escape':
        return isForbidden(byte) ? 'stray' : 'string'
      case 'word':
        return isLower(byte) ? 'word' : 'ended'
      default:
        return numberStep(this.#state, byte)
    }
  }

  #begin(byte: number): Step {
    if (SPACE.has(byte)) return 'between'
    if (MARKS.has(byte)) return 'ends'
    if (QUOTES.has(byte)) {
      this.#quote = byte
      return 'string'
    }
    if (isLower(byte)) return 'word'
    if (byte === MINUS) return 'sign'
    if (byte === ZERO) return 'zero'
    return isDigit(byte) ? 'digits' : 'stray'
  }
}

/** What a token is that ends in this state. */
function kindOf(state: State): TokenKind {
  switch (state) {
    case 'between':
    case 'recovery':
      return 'mark'
    case 'string':
    case 'escape':
      return 'string'
    case 'word':
      return 'word'
    default:
      return 'number'
  }
}

function numberStep(state: State, byte: number): Step {
  switch (state) {
    case 'sign':
      return byte === ZERO ? 'zero' : isDigit(byte) ? 'digits' : 'stray'
    case 'zero':
      return isDigit(byte) ? 'stray' : byte === POINT ? 'point' : 'ended'
    case 'digits':
      return isDigit(byte) ? 'digits' : behindInteger(byte)
    case 'point':
      return isDigit(byte) ? 'fraction' : 'stray'
    case 'fraction':
      return isDigit(byte) ? 'fraction' : EXPONENT.has(byte) ? 'exponent' : 'ended'
    case 'exponent':
      return SIGNS.has(byte) ? 'exponent-sign' : isDigit(byte) ? 'exponent-digits' : 'stray'
    case 'exponent-sign':
      return isDigit(byte) ? 'exponent-digits' : 'stray'
    default:
      return isDigit(byte) ? 'exponent-digits' : 'ended'
  }
}

function behindInteger(byte: number): Step {
  if (byte === POINT) return 'point'
  return EXPONENT.has(byte) ? 'exponent' : 'ended'
}
