/** The lines of a recording. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { packEvent } from '../../ts/dashboard/frames.js'
import { eventLine, headerLine, parseLine, RECORDING_BEGINS } from '../../ts/dashboard/recording.js'
import { anyEvent, plainMeasured } from '../fixtures/dashboard.js'

const CODE = { code: 'ERR_ARGUMENT' }

describe('a line of a recording', () => {
  it('has the event that was written, and no end of a line within it', () => {
    fc.assert(
      fc.property(anyEvent.map(packEvent), event => {
        const line = eventLine(event)
        expect(line).not.toMatch(/[\r\n]/)
        expect(parseLine(line)).toEqual({ kind: 'event', event })
      }),
    )
  })

  it('has the header that was written', () => {
    const line = headerLine('0.1.0', new Date(0))
    expect(line.startsWith(RECORDING_BEGINS)).toBe(true)
    expect(parseLine(line)).toMatchObject({
      kind: 'header',
      header: { dirtyrate: '0.1.0', startedAt: '1970-01-01T00:00:00.000Z' },
    })
  })

  it('is refused with an error of ours, wherever it is cut', () => {
    fc.assert(
      fc.property(anyEvent.map(packEvent), fc.nat(), (event, cut) => {
        const line = eventLine(event)
        const kept = line.slice(0, cut % line.length)
        expect(() => parseLine(kept)).toThrow(expect.objectContaining(CODE))
      }),
    )
  })

  it.each([
    ['a later form', headerLine('9.0.0', new Date(0)).replace('"version":1', '"version":2')],
    ['another format', '{"format":"pcap","version":1}'],
    ['a text', '"hello"'],
    ['no base64', cellsWith('*')],
    ['no cells at all', cellsWith(undefined)],
  ])('is refused if it is %s', (_, line) => {
    expect(() => parseLine(line)).toThrow(expect.objectContaining(CODE))
  })
})

function cellsWith(data: string | undefined): string {
  return JSON.stringify({
    ...plainMeasured,
    cells: { cellBytes: 1, blocks: [{ block: 'ram', bytes: 1 }], data },
  })
}
