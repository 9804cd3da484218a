/** Frames of a live view: what was encoded comes back, and garbage is refused. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { packColumn, Reader, unpackColumn } from '../../ts/dashboard/column.js'
import {
  decodeFrame,
  encodeRecord,
  isEvent,
  packEvent,
  unpackEvent,
} from '../../ts/dashboard/frames.js'
import { columnsOf, joined, packCells } from '../../ts/dashboard/packed-cells.js'
import type { LiveRecord } from '../../ts/dashboard/records.js'
import type { DirtyCells } from '../../ts/results/cells.js'
import { anyControl, anyEvent, anyNumbers, plainMeasured } from '../fixtures/dashboard.js'

const MIB = 2 ** 20
const CODE = { code: 'ERR_ARGUMENT' }

const anyRecord: fc.Arbitrary<LiveRecord> = fc.oneof(
  fc.record({
    seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    event: anyEvent.map(packEvent),
  }),
  fc.record({ control: anyControl }),
)

describe('a column', () => {
  it('comes back as it was packed', () => {
    fc.assert(
      fc.property(anyNumbers, numbers => {
        const from = new Reader(packColumn(numbers))
        expect(Array.from(unpackColumn(from, numbers.length))).toEqual(numbers)
        expect(from.isAtEnd).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  it.each([
    { what: 'clean cells', bytes: 4, numbers: new Array<number>(100_000).fill(0) },
    { what: 'cells that are all dirty', bytes: 6, numbers: new Array<number>(100_000).fill(512) },
    { what: 'one byte for small figures', bytes: 1 + 2 + 500, numbers: counting(500, 251) },
    { what: 'two bytes for larger ones', bytes: 1 + 2 + 1000, numbers: counting(500, 512) },
  ])('takes $bytes bytes for $what', ({ bytes, numbers }) => {
    expect(packColumn(numbers)).toHaveLength(bytes)
  })

  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('cannot have %d pages', pages => {
    expect(() => packColumn([0, pages])).toThrow(RangeError)
  })
})

describe('a frame', () => {
  it('has the records that were encoded', () => {
    fc.assert(
      fc.property(fc.array(anyRecord, { maxLength: 5 }), records => {
        expect(decodeFrame(joined(records.map(encodeRecord)))).toEqual(records)
      }),
    )
  })

  it('has the cells of an event, unpacked again', () => {
    fc.assert(
      fc.property(anyEvent, event => {
        const [record] = decodeFrame(encodeRecord({ seq: 1, event: packEvent(event) }))
        if (record === undefined || !isEvent(record)) throw new Error('there is no event')
        expect(unpackEvent(record.event)).toEqual(event)
      }),
    )
  })

  it('is refused with an error of ours if any of its bytes are cut off', () => {
    fc.assert(
      fc.property(anyRecord, fc.nat(), (record, cut) => {
        const bytes = encodeRecord(record)
        const kept = 1 + (cut % (bytes.length - 1))
        expect(() => decodeFrame(bytes.subarray(0, kept))).toThrow(expect.objectContaining(CODE))
      }),
    )
  })

  it('is decoded or refused, whatever its bytes are', () => {
    fc.assert(
      fc.property(anyRecord, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1 }), damaged),
      { numRuns: 2000 },
    )
    fc.assert(fc.property(fc.uint8Array(), decodedOrRefused), { numRuns: 2000 })
  })

  it.each([
    ['a run that never ends', { cellBytes: 1, blocks: [{ block: 'ram', bytes: 2 ** 52 }] }, [1, 4]],
    [
      'more cells than any map shows',
      { cellBytes: 1, blocks: [{ block: 'ram', bytes: 2 ** 25 }] },
      [1, 0x80, 0x80, 0x80, 0x40],
    ],
    ['a run that is too long', { cellBytes: 1, blocks: [{ block: 'ram', bytes: 1 }] }, [1, 8]],
    ['an empty run', { cellBytes: 1, blocks: [{ block: 'ram', bytes: 1 }] }, [1, 0, 4]],
    ['a run of no kind', { cellBytes: 1, blocks: [{ block: 'ram', bytes: 1 }] }, [1, 7]],
    ['no width', { cellBytes: 1, blocks: [{ block: 'ram', bytes: 1 }] }, [3, 4]],
    ['more than its cells', { cellBytes: 1, blocks: [{ block: 'ram', bytes: 1 }] }, [1, 4, 0]],
    ['not a number', { cellBytes: 1, blocks: [{ block: 'ram', bytes: 1 }] }, nan()],
    ['cells of no size', { cellBytes: 0, blocks: [] }, []],
    ['bytes without a description', undefined, [1, 4]],
  ])('is refused if its cells have %s', (_, cells, tail) => {
    expect(() =>
      decodeFrame(frameOf({ seq: 1, event: { ...plainMeasured, cells } }, tail)),
    ).toThrow(expect.objectContaining(CODE))
    expect(decodeFrame(frameOf({ seq: 1, event: plainMeasured }, []))).toEqual([
      { seq: 1, event: plainMeasured },
    ])
  })

  it('is refused if a figure is not finite', () => {
    const text = '{"control":{"kind":"alive","at":1e999}}'
    expect(() => decodeFrame(frameOf(text, []))).toThrow(expect.objectContaining(CODE))
  })
})

describe('the cells of 1 TiB in 2 MiB', () => {
  const all = 2 ** 40 / (2 * MIB)
  const cells = (pages: number[]): DirtyCells => ({
    cellBytes: 2 * MIB,
    blocks: [{ block: 'ram', guestAddress: 0, bytes: 2 ** 40, pages }],
  })

  it.each([
    { what: 'an idle guest', most: 10, pages: new Array<number>(all).fill(0) },
    { what: 'a guest that writes everything', most: 10, pages: new Array<number>(all).fill(512) },
    {
      what: 'a guest that writes 1 % of its cells, here and there',
      // Each dirty cell has one run for itself, and one for the clean cells before it.
      most: (all / 100) * 6,
      pages: counting(all, 100).map(n => (n === 99 ? 300 : 0)),
    },
    {
      what: 'a guest that writes another number of pages to each cell',
      most: all * 2 + 10,
      pages: counting(all, 513),
    },
  ])('take at most $most bytes for $what', ({ most, pages }) => {
    const packed = packCells(cells(pages))
    expect(packed.data.length).toBeLessThanOrEqual(most)
    expect(Array.from(columnsOf(packed)[0]?.pages ?? [])).toEqual(pages)
  })
})

function damaged(record: LiveRecord, changes: readonly (readonly [number, number])[]): void {
  const bytes = encodeRecord(record)
  for (const [at, byte] of changes) bytes[at % bytes.length] = byte
  decodedOrRefused(bytes)
}

/** What is decoded can be encoded again; anything else is an error of ours. */
function decodedOrRefused(bytes: Uint8Array): void {
  let records: LiveRecord[]
  try {
    records = decodeFrame(bytes)
  } catch (error) {
    expect(error).toMatchObject(CODE)
    return
  }
  for (const record of records) if (isEvent(record)) unpackEvent(record.event)
  expect(decodeFrame(joined(records.map(encodeRecord)))).toEqual(records)
}

function frameOf(head: object | string, tail: readonly number[]): Uint8Array {
  const text = new TextEncoder().encode(typeof head === 'string' ? head : JSON.stringify(head))
  const lengths = new DataView(new ArrayBuffer(8))
  lengths.setUint32(0, text.length, true)
  lengths.setUint32(4, tail.length, true)
  return joined([new Uint8Array(lengths.buffer), text, Uint8Array.from(tail)])
}

/** 0, 1, …, below `modulus`, and again. */
function counting(length: number, modulus: number): number[] {
  return Array.from({ length }, (_, at) => at % modulus)
}

function nan(): number[] {
  const float = new DataView(new ArrayBuffer(8))
  float.setFloat64(0, Number.NaN, true)
  return [8, 6, ...new Uint8Array(float.buffer)]
}
