/**
 * The frames of QMP: whatever the pieces, the texts come out as they went in. The oracle is
 * JSON.stringify.
 */

import { Buffer } from 'node:buffer'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { JsonLimitError, JsonStream } from '../../ts/qmp/json-stream.js'

/** The bytes in pieces whose lengths repeat `lengths`. */
function pieces(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const found: Buffer[] = []
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const length = lengths[turn % lengths.length] ?? 1
    found.push(bytes.subarray(at, at + length))
    at += length
  }
  return found
}

const object = fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue(), { maxKeys: 4 })
const between = fc.constantFrom('', '\n', '\r\n', ' \t\n')
const lengths = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 })

describe('a stream of JSON', () => {
  it('gives each object back, in however many pieces it came', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(object, between, fc.nat(4)), { maxLength: 8 }),
        lengths,
        (sent, cut) => {
          const text = sent
            .map(([value, gap, indent]) => JSON.stringify(value, undefined, indent) + gap)
            .join('')
          const stream = new JsonStream()
          const got = pieces(Buffer.from(text), cut).flatMap(piece => stream.push(piece))
          expect(got.map(one => JSON.parse(one))).toEqual(
            sent.map(([value]) => JSON.parse(JSON.stringify(value))),
          )
          expect(stream.pending).toBe(0)
        },
      ),
    )
  })

  it.each([
    ['{"a":"}{"}', ['{"a":"}{"}']],
    ['{"a":"\\"}"}{}', ['{"a":"\\"}"}', '{}']],
    ["{'execute': 'a}'}", ["{'execute': 'a}'}"]],
    ['[1,[2]]{"b":1}', ['[1,[2]]', '{"b":1}']],
    ['nope {"a":1}', ['nope', '{"a":1}']],
    ['nope{"a":1}', ['nope', '{"a":1}']],
    ['}{"a":1}', ['}', '{"a":1}']],
    ['"a b" 5\n', ['"a b"', '5']],
    ['\n \t\r\n', []],
    ['{"a":', []],
  ])('makes of %j %j, byte by byte too', (text, texts) => {
    for (const cut of [1, 2, 1000]) {
      const stream = new JsonStream()
      expect(pieces(Buffer.from(text), [cut]).flatMap(piece => stream.push(piece))).toEqual(texts)
    }
  })

  it('never fails but by its limits, and keeps no more than one text', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), lengths, (bytes, cut) => {
        const whole = new JsonStream()
        const cutUp = new JsonStream()
        const texts = pieces(Buffer.from(bytes), cut).flatMap(piece => cutUp.push(piece))
        expect(texts).toEqual(whole.push(bytes))
        expect(cutUp.pending).toBe(whole.pending)
        expect(cutUp.pending).toBeLessThanOrEqual(bytes.length)
      }),
    )
  })

  it.each([
    ['a text without an end', '{"a":"', 'x', 'longer than 1000 bytes'],
    ['a word without an end', '', 'x', 'longer than 1000 bytes'],
    ['arrays in arrays', '', '[', 'deeper than 8 levels'],
  ])('refuses %s within its limits', (_, head, repeated, why) => {
    const stream = new JsonStream({ maxBytes: 1000, maxDepth: 8 })
    const flood = (): void => {
      stream.push(Buffer.from(head))
      for (let sent = 0; sent <= 1000; sent += 10) stream.push(Buffer.from(repeated.repeat(10)))
    }
    expect(flood).toThrow(JsonLimitError)
    expect(flood).toThrow(why)
  })

  it('takes a text of exactly its limits', () => {
    const stream = new JsonStream({ maxBytes: 10, maxDepth: 2 })
    expect(stream.push(Buffer.from('[[1,2,34]]'))).toEqual(['[[1,2,34]]'])
    expect(() => stream.push(Buffer.from('[[1,2,345]]'))).toThrow(JsonLimitError)
  })
})
