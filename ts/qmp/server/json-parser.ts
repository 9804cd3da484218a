/** Tokens in, one JSON value out, with QEMU's texts for what is none. */

import { Buffer } from 'node:buffer'
import { TextDecoder } from 'node:util'
import { type Json, JsonNumber } from './json.js'
import type { Token } from './lexer.js'

/** What QEMU says about a text that is no JSON. */
export class JsonParseError extends Error {
  override readonly name = 'JsonParseError'

  constructor(what: string) {
    // In C a NUL ends a text.
    super(`JSON parse error, ${what.split('\0')[0]}`)
  }
}

/** The error about bytes that are no token. */
export function strayError({ bytes }: Token): JsonParseError {
  const [shown] = bytes.toString('utf8').split('\0')
  return new JsonParseError(`stray '${shown}'`)
}

const WORDS: ReadonlyMap<string, Json> = new Map<string, Json>([
  ['true', true],
  ['false', false],
  ['null', null],
])

const ESCAPES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    '"': '"',
    "'": "'",
    '\\': '\\',
    '/': '/',
    b: '\b',
    f: '\f',
    n: '\n',
    r: '\r',
    t: '\t',
  }),
)

/** The value that `tokens` are. What follows it is ignored, as by QEMU. */
export function parseTokens(tokens: readonly Token[]): Json {
  return new Parser(tokens).value()
}

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  value(): Json {
    const { kind, bytes } = this.#next()
    switch (kind) {
      case 'string':
        return stringOf(bytes)
      case 'number':
        return new JsonNumber(bytes.toString('latin1'))
      case 'word': {
        const word = bytes.toString('latin1')
        const value = WORDS.get(word)
        if (value === undefined) throw new JsonParseError(`invalid keyword '${word}'`)
        return value
      }
      default:
        if (isMark(bytes, '{')) return this.#object()
        if (isMark(bytes, '[')) return this.#array()
        throw new JsonParseError('expecting value')
    }
  }

  #object(): Json {
    const members = new Map<string, Json>()
    if (this.#skip('}')) return members
    do {
      const key = this.value()
      if (typeof key !== 'string') throw new JsonParseError('key is not a string in object')
      if (!this.#skip(':')) throw new JsonParseError('missing : in object pair')
      const value = this.value()
      if (members.has(key)) throw new JsonParseError('duplicate key')
      members.set(key, value)
    } while (this.#skip(','))
    if (!this.#skip('}')) throw new JsonParseError('expected separator in dict')
    return members
  }

  #array(): Json {
    const items: Json[] = []
    if (this.#skip(']')) return items
    do items.push(this.value())
    while (this.#skip(','))
    if (!this.#skip(']')) throw new JsonParseError('expected separator in list')
    return items
  }

  /** Whether the next token is this mark, which then is read. */
  #skip(mark: string): boolean {
    const token = this.#next()
    if (token.kind === 'mark' && isMark(token.bytes, mark)) return true
    this.#at--
    return false
  }

  #next(): Token {
    const token = this.#tokens[this.#at++]
    if (token === undefined) throw new JsonParseError('premature EOI')
    return token
  }
}

const isMark = (bytes: Buffer, mark: string): boolean => bytes[0] === mark.charCodeAt(0)

const BACKSLASH = 0x5c
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
/** How QEMU lets a string have the character NUL: a form that UTF-8 itself forbids. */
const LONG_NUL = '\xc0\x80'

/** The string of a token, with its quotes. */
function stringOf(token: Buffer): string {
  const end = token.length - 1
  let text = ''
  for (let at = 1; at < end; ) {
    if (token[at] !== BACKSLASH) {
      const next = token.indexOf(BACKSLASH, at)
      const stop = next === -1 ? end : next
      text += decoded(token.subarray(at, stop))
      at = stop
      continue
    }
    const letter = String.fromCharCode(token[at + 1] as number)
    if (letter === 'u') {
      const { character, length } = codePoint(token, at)
      text += character
      at += length
      continue
    }
    const character = ESCAPES.get(letter)
    if (character === undefined) throw new JsonParseError('invalid escape sequence in string')
    text += character
    at += 2
  }
  return text
}

/** The character of the `\\u` at `at`, or of two that are the halves of one. */
function codePoint(token: Buffer, at: number): { character: string; length: number } {
  const unit = (from: number): number => {
    const digits = token.toString('latin1', from, from + 6)
    return /^\\u[0-9a-fA-F]{4}$/.test(digits) ? Number.parseInt(digits.slice(2), 16) : Number.NaN
  }
  const first = unit(at)
  const isHigh = first >= 0xd800 && first <= 0xdbff
  const second = isHigh ? unit(at + 6) : Number.NaN
  const isPair = second >= 0xdc00 && second <= 0xdfff
  const length = isPair ? 12 : 6
  const character = isPair ? String.fromCharCode(first, second) : String.fromCharCode(first)
  if (Number.isNaN(first) || !isCharacters(character)) {
    const shown = token.toString('utf8', at, at + length)
    throw new JsonParseError(`${shown} is not a valid Unicode character`)
  }
  return { character, length }
}

function decoded(bytes: Buffer): string {
  // Only LONG_NUL has this byte in what is valid.
  if (bytes.includes(0xc0)) {
    const parts = bytes.toString('latin1').split(LONG_NUL)
    return parts.map(part => valid(Buffer.from(part, 'latin1'))).join('\0')
  }
  return valid(bytes)
}

function valid(bytes: Uint8Array): string {
  let text: string | undefined
  try {
    text = utf8.decode(bytes)
  } catch {
    // It is refused below.
  }
  if (text === undefined || !isCharacters(text))
    throw new JsonParseError('invalid UTF-8 sequence in string')
  return text
}

/** Whether Unicode has all these characters: no half of a pair, and no noncharacter. */
const isCharacters = (text: string): boolean => !/[\p{Surrogate}\p{NChar}]/u.test(text)
