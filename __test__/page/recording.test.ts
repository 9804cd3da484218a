/** How the page reads a recording: line by line, whatever is in it. */

import { expect, it } from 'vitest'
import { readRecording } from '../../page/live/recording.js'
import type { PageEvent } from '../../page/state/state.js'
import { packEvent } from '../../ts/dashboard/frames.js'
import { eventLine, headerLine, MOST_TARGETS } from '../../ts/dashboard/recording.js'
import { measuredEvent } from '../fixtures/dashboard.js'

const HEADER = headerLine('0.1.0', new Date(0))
const MIB = 2 ** 20

const line = (target: string, at: number): string =>
  eventLine(packEvent(measuredEvent(target, at, 10)))

async function read(file: Blob) {
  const events: PageEvent[] = []
  const found = await readRecording(file, some => events.push(...some))
  return { ...found, events }
}

/** A file of any length, which is nowhere as a whole. */
function longFile(chunks: Iterable<string>): Blob {
  const encoder = new TextEncoder()
  const iterator = chunks[Symbol.iterator]()
  const stream = (): ReadableStream<Uint8Array> =>
    new ReadableStream({
      pull(controller) {
        const { done, value } = iterator.next()
        if (done) controller.close()
        else controller.enqueue(encoder.encode(value))
      },
    })
  return { stream } as unknown as Blob
}

it('gives the events in their order, and says where some are missing', async () => {
  const lines = [HEADER, line('pid:1', 1), '', '{"kind":"pause"}', HEADER, line('pid:2', 5), '{"ki']
  const { events, unreadable, leftOut } = await read(new Blob([lines.join('\n')]))
  expect(events.map(({ kind, at }) => [kind, at])).toEqual([
    ['measured', 1],
    ['missed', 1],
    ['measured', 5],
  ])
  expect({ unreadable, leftOut }).toEqual({ unreadable: 2, leftOut: 0 })
})

it('reads a file that is longer than any text can be', async () => {
  function* chunks() {
    yield `${HEADER}\n`
    // A text of V8 has at most 512 MiB.
    for (let mib = 0; mib < 600; mib++) {
      yield ' '.repeat(MIB)
      if (mib % 100 === 50) yield `\n${line('pid:1', mib)}\n`
    }
  }
  const { events, unreadable } = await read(longFile(chunks()))
  expect(events.map(({ at }) => at)).toEqual([50, 150, 250, 350, 450, 550])
  // Six of the seven lines of spaces are too long to be one.
  expect(unreadable).toBe(5)
})

it.each([
  ['', 'it is empty'],
  ['\n', 'recording'],
  ['Dear Linus,\n', 'recording'],
  ['{"format":"dirtyrate-recording","version":99}\n', 'version 99'],
  [`${'['.repeat(100_000)}\n`, 'recording'],
])('refuses %j', async (text, why) => {
  await expect(read(new Blob([text]))).rejects.toMatchObject({
    code: 'ERR_ARGUMENT',
    message: expect.stringContaining(why),
  })
})

it('shows no more targets than a server can have', async () => {
  function* chunks() {
    yield `${HEADER}\n`
    for (let at = 0; at < MOST_TARGETS + 7; at++) yield `${line(`pid:${at}`, at)}\n`
    yield `${line('pid:3', 1e6)}\n`
  }
  const { events, leftOut } = await read(longFile(chunks()))
  expect(leftOut).toBe(7)
  expect(events).toHaveLength(MOST_TARGETS + 1)
  expect(events.at(-1)?.at).toBe(1e6)
})
