// Fuzzes the reader of the QMP server for so many seconds, with the inputs of fast-check: pieces of
// JSON in any order, JSON with some bytes changed, and any bytes. A failure is shrunk, and printed
// with the seed that repeats it. (Jazzer.js, which would be led by coverage, has no binary for the
// C library of the distributions that CI runs on.)
//
//   node scripts/test/fuzz-qmp.mjs [SECONDS]
//
// Whatever bytes come in whatever pieces, the reader throws only for a request that is too long;
// the pieces do not matter; a value is written as it was read; and what JSON.parse reads is read in
// the same way.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { importTypeScript } from '../build/import-typescript.mjs'
import { commandLine } from '../command-line.mjs'

const { positionals } = commandLine(import.meta.url, { allowPositionals: true })
const seconds = Number(positionals[0] ?? 4)

const { JsonNumber, jsonText, RequestStream, RequestTooLongError } =
  await importTypeScript('fuzz/qmp-reader.ts')

/** The requests in `bytes`, cut after each `length` bytes. */
function requests(bytes, length) {
  const stream = new RequestStream()
  const found = []
  try {
    for (let at = 0; at < bytes.length; at += length)
      found.push(...stream.push(bytes.subarray(at, at + length)))
  } catch (error) {
    if (!(error instanceof RequestTooLongError)) throw error
    found.push({ error: 'too long' })
  }
  return found
}

/** A value as JSON.parse would have made it. */
function ordinary(value) {
  if (value instanceof JsonNumber) return Number(value.text)
  if (Array.isArray(value)) return value.map(ordinary)
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([name, member]) => [name, ordinary(member)]))
  return value
}

/** What JSON.parse makes of all bytes; undefined if it is no object and no list. */
function parsed(bytes) {
  try {
    const value = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

/** How QEMU refuses what JSON.parse takes. A zero with an exponent is two tokens to QEMU. */
const REFUSED =
  /duplicate key|valid Unicode|invalid UTF-8|stray|expected separator|limit|too long|invalid keyword/

function check(bytes, length) {
  const whole = requests(bytes, bytes.length || 1)
  assert.deepEqual(requests(bytes, 1), whole)
  assert.deepEqual(requests(bytes, length), whole)
  for (const request of whole) {
    if (request.value === undefined) continue
    // The space ends a number.
    const text = Buffer.from(`${jsonText(request.value)} `)
    const [again] = requests(text, text.length)
    assert.equal(jsonText(again.value), jsonText(request.value))
  }
  const expected = parsed(bytes)
  if (expected === undefined || whole.some(({ error }) => REFUSED.test(error))) return
  assert.equal(whole.length, 1)
  assert.deepEqual(ordinary(whole[0].value), expected)
}

const pieces = [
  ...['{', '}', '[', ']', ':', ',', '"', "'", '\\', ' ', '\n', '\t', '\\u00e4', '\\ud83d', '\\u'],
  ...['"a"', '"b":', '1', '0', '-', '.', 'e', '+', 'true', 'null', 'nul', 'A', '@', '%', '/', 'ä'],
  ...['\u0000', '\u0001', '{}', '[]', '{"execute":"a"}', '\\ude00', '\uffff'],
]
const shuffled = fc
  .array(fc.constantFrom(...pieces), { maxLength: 40 })
  .map(texts => Buffer.from(texts.join('')))
const changed = fc
  .tuple(
    fc.json(),
    fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 3 }),
  )
  .map(([text, changes]) => {
    const bytes = Buffer.from(text)
    for (const [at, byte] of changes) bytes[at % bytes.length] = byte
    return bytes
  })
const any = fc.uint8Array({ maxLength: 60 }).map(bytes => Buffer.from(bytes))

let runs = 0
fc.assert(
  fc.property(fc.oneof(shuffled, changed, any), fc.integer({ min: 2, max: 9 }), (bytes, length) => {
    runs++
    check(bytes, length)
  }),
  { numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: seconds * 1000 },
)
console.log(`${runs} inputs in ${seconds} s`)
