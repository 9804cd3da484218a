/**
 * The requests of a client: whatever the pieces in which they come, JSON comes out as it was sent,
 * and what is none costs no more than its limits. The oracle is JSON.parse.
 */

import { Buffer } from 'node:buffer'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Json, JsonNumber, jsonText, plain } from '../../ts/qmp/server/json.js'
import {
  MAX_REQUEST_BYTES,
  MAX_REQUEST_DEPTH,
  MAX_REQUEST_TOKENS,
  type Request,
  RequestStream,
  RequestTooLongError,
} from '../../ts/qmp/server/requests.js'

/** The bytes in pieces whose lengths repeat `lengths`. */
function pieces(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const found: Uint8Array[] = []
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const length = lengths[turn % lengths.length] ?? 1
    found.push(bytes.subarray(at, at + length))
    at += length
  }
  return found
}

const requests = (bytes: Uint8Array, cut: readonly number[] = [2 ** 20]): Request[] => {
  const stream = new RequestStream()
  return pieces(bytes, cut).flatMap(piece => [...stream.push(piece)])
}

/** A value with numbers of JavaScript, and objects. */
function value(json: Json): unknown {
  if (json instanceof JsonNumber) return Number(json.text)
  if (Array.isArray(json)) return json.map(value)
  if (json instanceof Map) {
    const members = Object.create(null)
    for (const [name, member] of json) members[name] = value(member)
    return members
  }
  return json
}

/** A character that QEMU takes: half of a pair and noncharacters are refused. */
const character = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 1 })
  .filter(text => !/[\p{Surrogate}\p{NChar}]/u.test(text))
const string = fc.string({ unit: character })
const json = fc.letrec(tie => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, false),
    fc.integer(),
    // JSON.stringify writes no zero before a digit, and QEMU reads `0e1` as two tokens.
    fc.double({ noNaN: true, noDefaultInfinity: true }).map(number => number + 0),
    string,
    fc.array(tie('value'), { maxLength: 4 }),
    tie('object'),
  ),
  object: fc.dictionary(string, tie('value'), { maxKeys: 4 }),
}))
const between = fc.constantFrom('', '\n', '\r\n', ' \t\n')
const lengths = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 })

describe('the requests of a stream', () => {
  it('are what was sent, in however many pieces', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(json.object, between, fc.nat(3)), { maxLength: 6 }),
        lengths,
        (sent, cut) => {
          const text = sent
            .map(([object, gap, indent]) => JSON.stringify(object, undefined, indent) + gap)
            .join('')
          const got = requests(Buffer.from(text), cut)
          expect(got.map(request => ('value' in request ? value(request.value) : request))).toEqual(
            sent.map(([object]) => JSON.parse(JSON.stringify(object))),
          )
        },
      ),
    )
  })

  it('are the same for any bytes, in however many pieces, and never an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), lengths, (bytes, cut) => {
        expect(requests(bytes, cut)).toEqual(requests(bytes))
      }),
    )
    const parts = ['{', '}', '[', ']', '"', "'", '\\', ':', ',', '1', '-', 'e', '.', 'true', ' ']
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...parts)), lengths, (texts, cut) => {
        const bytes = Buffer.from(texts.join(''))
        expect(requests(bytes, cut)).toEqual(requests(bytes))
      }),
    )
  })

  it('go out as they came in', () => {
    fc.assert(
      fc.property(json.object, object => {
        const [request] = requests(Buffer.from(JSON.stringify(object)))
        const text = jsonText(request !== undefined && 'value' in request ? request.value : null)
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(object)))
        expect(text).toMatch(/^[\x20-\x7e]*$/)
      }),
    )
  })

  it.each([
    ["{'a': 'b\"c'}", { a: 'b"c' }],
    ["{'a\\'b': \"\\'\"}", { "a'b": "'" }],
    ['{"a":"}{"}', { a: '}{' }],
    ['{"__proto__":{"a":1}}', JSON.parse('{"__proto__":{"a":1}}')],
  ])('%s', (text, expected) => {
    const [request] = requests(Buffer.from(text))
    expect(request !== undefined && 'value' in request && plain(request.value)).toEqual(expected)
  })

  it('are integers for a command only if they are written as such, in 64 bits', () => {
    const integer = (text: string): number | undefined => new JsonNumber(text).integer
    expect(integer('-9223372036854775808')).toBe(-(2 ** 63))
    expect(integer('5')).toBe(5)
    for (const text of ['9223372036854775808', '-9223372036854775809', '1.0', '1e3'])
      expect(integer(text)).toBeUndefined()
  })
})

describe('a request without an end', () => {
  it.each([
    ['a string', '"'],
    ['a word', 'a'],
    ['a number', '1'],
    ['an array of strings', '["a'],
  ])('is refused at its limit: %s', (_, head) => {
    const stream = new RequestStream()
    const piece = Buffer.alloc(2 ** 16, head === '1' ? '1' : 'a')
    const flood = (): number => {
      let sent = [...stream.push(Buffer.from(head))].length
      for (let bytes = 0; bytes <= MAX_REQUEST_BYTES; bytes += piece.length)
        sent += [...stream.push(piece)].length
      return sent
    }
    expect(flood).toThrow(RequestTooLongError)
  })

  it('of spaces costs nothing', () => {
    const stream = new RequestStream()
    const piece = Buffer.alloc(2 ** 16, ' ')
    expect([...stream.push(Buffer.from('{'))]).toEqual([])
    for (let bytes = 0; bytes <= 2 * MAX_REQUEST_BYTES; bytes += piece.length)
      expect([...stream.push(piece)]).toEqual([])
    expect([...stream.push(Buffer.from('}'))]).toEqual([{ value: new Map() }])
  })

  it('of many tokens is refused, and the next one is read', () => {
    const stream = new RequestStream()
    const text = `[${'1,'.repeat(MAX_REQUEST_TOKENS / 2)}`
    expect([...stream.push(Buffer.from(text))]).toEqual([
      { error: 'JSON token count limit exceeded' },
    ])
    expect([...stream.push(Buffer.from('{}'))]).toEqual([{ value: new Map() }])
  })

  it('of too many levels is refused, and the next one is read', () => {
    const stream = new RequestStream()
    expect([...stream.push(Buffer.from('['.repeat(MAX_REQUEST_DEPTH + 1)))]).toEqual([
      { error: 'JSON nesting depth limit exceeded' },
    ])
    expect([...stream.push(Buffer.from('{}'))]).toEqual([{ value: new Map() }])
  })
})
