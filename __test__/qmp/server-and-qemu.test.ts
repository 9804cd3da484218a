/** What the server answers to right and wrong input is what a real QEMU answers, byte by byte. */

import { Buffer } from 'node:buffer'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, it, onTestFinished } from 'vitest'
import { createQmpServer } from '../../ts/index.js'
import { describeWith, full } from '../fixtures/kvm.js'
import { created } from '../fixtures/machine.js'
import { RawClient } from '../fixtures/raw-client.js'

interface Qemu {
  kill(): Promise<void>
}
const { Qemu }: { Qemu: { start(args: string[], accel?: string): Promise<Qemu> } } = await import(
  new URL('../../scripts/qemu/qemu.mjs', import.meta.url).href
)

/** The sockets of a QEMU whose guest has not started, and of a VM of ours in the same state. */
async function monitors(): Promise<{ theirs: string; ours: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-qmp-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const [theirs, ours] = [join(folder, 'theirs'), join(folder, 'ours')]
  const qemu = await Qemu.start(
    ['-S', '-m', '64', '-qmp', `unix:${theirs},server=on,wait=off`],
    'tcg',
  )
  onTestFinished(() => qemu.kill())
  const server = await createQmpServer(await created(), { socket: ours })
  onTestFinished(() => server.close())
  return { theirs, ours }
}

const bytes = (...parts: (string | number)[]): Buffer =>
  Buffer.concat(
    parts.map(part => (typeof part === 'string' ? Buffer.from(part) : Buffer.from([part]))),
  )
const withId = (...parts: (string | number)[]): Buffer =>
  bytes('{"execute":"query-status","id":', ...parts, '}')

/** What is sent before the negotiation, each to a connection of its own. */
const EARLY = [
  '{"execute":"query-status"}',
  '{"execute":"no-such","id":5}',
  '{"execute":"query-status","foo":1}',
  'nope ',
  '{"exec-oob":"qmp_capabilities"}',
  '{"execute":"qmp_capabilities","arguments":{"enable":["foo"]}}',
  '{"execute":"qmp_capabilities","arguments":{"enable":["oob","oob"]}}',
  '{"execute":"qmp_capabilities","arguments":{"enable":"oob"}}',
  '{"execute":"qmp_capabilities","arguments":{"enable":[1]}}',
  '{"execute":"qmp_capabilities","arguments":{"enable":null}}',
  '{"execute":"qmp_capabilities","arguments":{"enable":[]},"id":[1]}',
  '{"execute":"qmp_capabilities","arguments":{"foo":[]}}',
]

/** What is sent out of band, after `oob` was enabled. */
const OUT_OF_BAND = [
  '{"exec-oob":"query-status","id":7}',
  '{"exec-oob":"qmp_capabilities","id":7}',
  '{"exec-oob":"no-such","id":7}',
  '{"exec-oob":"query-status","execute":"query-status"}',
  '{"exec-oob":5}',
  '{"exec-oob":"calc-dirty-rate","arguments":{}}',
]

const WHOLE = [
  ...['[]', '5 ', '"x" ', 'null ', 'true\n', '{}', '{"id":1}', '{"foo":1}', '{"id":[],"foo":1}'],
  '{"execute":5}',
  '{"execute":null,"id":"x"}',
  '{"execute":""}',
  '{"execute":"no-such","arguments":{"foo":1}}',
  '{"execute":"a\\u0007b\'c"}',
  '{"exec-oob":"query-status"}',
  '{"execute":"query-status","arguments":5}',
  '{"execute":"query-status","arguments":null}',
  '{"execute":"query-status","arguments":[]}',
  '{"execute":"query-status","arguments":{"a":1}}',
  '{"execute":"query-status"}{"execute":"query-status","id":2}',
  "{'execute':'query-status','id':'a\"b\\'c'}",
  '{"execute":"qmp_capabilities","id":[1,{"a":null}]}',
  '{"execute":"qmp_capabilities","arguments":{"foo":1}}',
  '{"execute":"human-monitor-command"}',
  '{"execute":"human-monitor-command","arguments":{"command-line":5}}',
  '{"execute":"human-monitor-command","arguments":{"command-line":"","cpu-index":"x"}}',
  '{"execute":"human-monitor-command","arguments":{"command-line":"","cpu-index":1}}',
  '{"execute":"human-monitor-command","arguments":{"command-line":"","cpu-index":-1}}',
  '{"execute":"human-monitor-command","arguments":{"command-line":"no_such ä","cpu-index":0}}',
  '{"execute":"human-monitor-command","arguments":{"command-line":"info dirty_rate"}}',
  '{"execute":"human-monitor-command","arguments":{"command-line":"calc_dirty_rate"}}',
  '{"execute":"calc-dirty-rate"}',
  '{"execute":"calc-dirty-rate","arguments":{"calc-time":1.0}}',
  '{"execute":"calc-dirty-rate","arguments":{"calc-time":1e0}}',
  '{"execute":"calc-dirty-rate","arguments":{"calc-time":9223372036854775808}}',
  '{"execute":"calc-dirty-rate","arguments":{"calc-time":-9223372036854775809}}',
  '{"execute":"calc-dirty-rate","arguments":{"calc-time":null}}',
  '{"execute":"calc-dirty-rate","arguments":{"calc-time":1,"calc-time-unit":"hour"}}',
  '{"execute":"calc-dirty-rate","arguments":{"calc-time":1,"calc-time-unit":[]}}',
  '{"execute":"calc-dirty-rate","arguments":{"calc-time":1,"sample-pages":true}}',
  '{"execute":"calc-dirty-rate","arguments":{"calc-time":1,"mode":"x","foo":5}}',
  '{"execute":"calc-dirty-rate","arguments":{"calc-time":0}}',
  '{"execute":"query-dirty-rate","arguments":{"calc-time-unit":"x"}}',
  '{"execute":"query-dirty-rate","id":true}',
].map(text => bytes(text))

const IDS = [
  ...['null', '-0', '12345678901234567890', '-9223372036854775808', '[1,[true,{}]]', '{"a":[]}'],
  '"\\u0001\\n\\t\\/\\u007f\\ud83d\\ude00\\b\\f\\r\\\\"',
  '"ä€😀"',
  '"\\u0000"',
  ...['"\\ud83d"', '"\\ud83dx"', '"\\udc00"', '"\\ud83d\\u0041"', '"\\u12"', '"\\uD800x"'],
  ...['"\\uFFFF"', '"\\uFDD0"', '"\\uDBFF\\uDFFF"', '"\\x"'],
].map(text => withId(text))

const BYTES = [
  withId('"', 0xc0, 0x80, 'x"'),
  ...[[0xff], [0xc3], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xc0, 0x81]].map(
    codes => withId('"', ...codes, '"'),
  ),
  ...[[0xef, 0xbf, 0xbf], [0xef, 0xbf, 0xbd], [0xef, 0xbb, 0xbf], [1], [0], [0x7f]].map(codes =>
    withId('"', ...codes, '"'),
  ),
  bytes('{"a":', 0xff, '}'),
  bytes(0xff, '{"execute":"query-status"}'),
]

const PIECES = [
  ...['nope ', '{"a":nope}', '{"a" 1}', '{"a":}', '{1:1}', '{"a":1,}', '[1,]', '[,]', '{,}', '{:}'],
  ...['{"a":1 "b":2}', '[1 2]', '{"a":1,"a":2}', '}', ']', '{"a":]', '[}', '[{"a":1]}', '{{]'],
  ...['{"a":01}', '{"a":+1}', '{"a":1.}', '{"a":.5}', '{"a":1e}', '{"a":-}', '{"a":0x1}', '- '],
  ...['{"a":NaN}', '{"a":"x\ny"}', '{"a":tru}', '{"a":truee}', '{"a":"b"x}', ',', ':', '@', '%d '],
  ...[
    '@ x ',
    '@\tx ',
    '@\nx ',
    '@\rx ',
    '@\fx ',
    '@\vx ',
    '@"a" ',
    '@\u0001x ',
    '@:',
    '1@ ',
    "'\\\"' ",
    '{"a":"\\\'"}',
    '{"a":1}1 ',
  ],
  ...['abc{"execute":"query-status"}', '\n \t\r\n', '{"execute":"query-status"', '"open', '12'],
  ...['['.repeat(1024) + ']'.repeat(1024), '['.repeat(1025), `${'['.repeat(1025)}]`],
].map(text => bytes(text))

describeWith('qemu-system-x86_64', 'a client gets of us what it gets of QEMU', () => {
  it('before the negotiation', async () => {
    const { theirs, ours } = await monitors()
    const answers = async (path: string, text: string): Promise<string> => {
      const client = await RawClient.connect(path)
      await client.until('capabilities')
      const answer = await client.ask(text)
      client.socket.destroy()
      return answer
    }
    for (const text of EARLY) expect(await answers(ours, text)).toBe(await answers(theirs, text))
  })

  it('after it, to right and wrong commands, to what is no JSON, and to every id', async () => {
    const { theirs, ours } = await monitors()
    const [qemu, we] = [await RawClient.negotiated(theirs), await RawClient.negotiated(ours)]
    for (const sent of [...WHOLE, ...IDS, ...BYTES, ...PIECES])
      expect(await we.answersTo(sent), sent.toString()).toEqual(await qemu.answersTo(sent))
  })

  it('out of band', async () => {
    const { theirs, ours } = await monitors()
    const answers = async (path: string): Promise<string[]> => {
      const client = await RawClient.connect(path)
      await client.until('capabilities')
      await client.ask('{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}')
      const all: string[] = []
      for (const text of OUT_OF_BAND) all.push(...(await client.answersTo(text)))
      client.socket.destroy()
      return all
    }
    expect(await answers(ours)).toEqual(await answers(theirs))
  })

  const parts = [
    ...[
      '{',
      '}',
      '[',
      ']',
      ':',
      ',',
      '"',
      "'",
      '\\',
      ' ',
      '\n',
      '\t',
      '\r',
      '\\u00e4',
      '\\ud83d',
      '"a"',
      '1',
    ],
    ...['0', '-', '.', 'e', '+', 'true', 'nul', 'A', '@', '"a":', '{"execute":"query-status"}'],
    ...['\u0001', 'ä', '\ufffd', '{}', '[]', '%', '/', '\u0000'],
  ]
  const runs = full ? 30_000 : 1000
  it(`whatever pieces of JSON come in whatever order: ${runs} texts`, async () => {
    const { theirs, ours } = await monitors()
    const [qemu, we] = [await RawClient.negotiated(theirs), await RawClient.negotiated(ours)]
    const text = fc.array(fc.constantFrom(...parts), { maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(text, async pieces => {
        const sent = pieces.join('')
        expect(await we.answersTo(sent)).toEqual(await qemu.answersTo(sent))
      }),
      { numRuns: runs },
    )
  })
})
