/**
 * A column of numbers, packed. Most cells of a guest's memory are clean in a window, so a column is
 * a list of runs: `docs/dashboard.md` has the form.
 */

import { argumentError } from '../ground/errors.js'

/** The unpacked numbers, in the narrowest array that has them all. */
export type Column = Uint8Array | Uint16Array | Uint32Array | Float64Array

/** What the numbers of a run are. */
type RunKind = (typeof RUN)[keyof typeof RUN]
const RUN = { zeros: 0, repeated: 1, listed: 2 } as const
/** A run begins with its length times this, plus its kind. */
const KINDS = 4
/** A shorter run of one number is listed. */
const SHORTEST_REPEAT = 4
/** The bytes of a number: a whole number without sign, or with the last width a float64. */
const WIDTHS: readonly number[] = [1, 2, 4, 8]
const FLOAT = 8
/** A varint has 7 bits a byte. No column is so long that its runs need more bytes. */
const MOST_VARINT_BYTES = 5

/** Packs numbers of at least 0. Throws RangeError for any other number. */
export function packColumn(numbers: ArrayLike<number>): Uint8Array {
  const width = widthOf(numbers)
  const out = new Writer(numbers.length * Math.min(width, 2) + 16)
  out.byte(width)
  let listedFrom = 0
  let at = 0
  while (at < numbers.length) {
    const number = numbers[at] as number
    let end = at + 1
    while (end < numbers.length && numbers[end] === number) end++
    if (end - at >= SHORTEST_REPEAT) {
      list(out, numbers, listedFrom, at, width)
      out.varint((end - at) * KINDS + (number === 0 ? RUN.zeros : RUN.repeated))
      if (number !== 0) out.number(number, width)
      listedFrom = end
    }
    at = end
  }
  list(out, numbers, listedFrom, numbers.length, width)
  return out.bytes()
}

function list(
  out: Writer,
  numbers: ArrayLike<number>,
  from: number,
  to: number,
  width: number,
): void {
  if (from === to) return
  out.varint((to - from) * KINDS + RUN.listed)
  for (let at = from; at < to; at++) out.number(numbers[at] as number, width)
}

/** The fewest bytes that have each number exactly. */
function widthOf(numbers: ArrayLike<number>): number {
  let most = 0
  let areWhole = true
  for (let at = 0; at < numbers.length; at++) {
    const number = numbers[at] as number
    if (!(number >= 0) || number === Number.POSITIVE_INFINITY)
      throw new RangeError(`a cell has ${number} pages`)
    if (number > most) most = number
    areWhole &&= Number.isInteger(number)
  }
  if (!areWhole || most > 0xffff_ffff) return FLOAT
  return most > 0xffff ? 4 : most > 0xff ? 2 : 1
}

/** Unpacks `length` numbers. Throws ERR_ARGUMENT if the bytes are not a column of this length. */
export function unpackColumn(from: Reader, length: number): Column {
  const width = readWidth(from)
  const column = emptyColumn(width, length)
  forEachRun(from, width, length, (kind, start, end, position) => {
    if (kind === RUN.repeated) column.fill(from.numberAt(position, width), start, end)
    if (kind === RUN.listed)
      for (let at = start; at < end; at++)
        column[at] = from.numberAt(position + (at - start) * width, width)
  })
  return column
}

/** Goes behind a column of `length` numbers, and checks it on the way, without its memory. */
export function skipColumn(from: Reader, length: number): void {
  const width = readWidth(from)
  forEachRun(from, width, length, (kind, start, end, position) => {
    if (width !== FLOAT || kind === RUN.zeros) return
    for (let at = 0; at < (kind === RUN.listed ? end - start : 1); at++) {
      const number = from.numberAt(position + at * width, width)
      if (!(number >= 0 && number < Number.POSITIVE_INFINITY)) throw garbled()
    }
  })
}

function forEachRun(
  from: Reader,
  width: number,
  length: number,
  run: (kind: RunKind, start: number, end: number, position: number) => void,
): void {
  let start = 0
  while (start < length) {
    const head = from.varint()
    const kind = head % KINDS
    const end = start + (head - kind) / KINDS
    if (end === start || end > length) throw garbled()
    if (kind !== RUN.zeros && kind !== RUN.repeated && kind !== RUN.listed) throw garbled()
    const numbers = kind === RUN.zeros ? 0 : kind === RUN.repeated ? 1 : end - start
    const position = from.skip(numbers * width)
    run(kind, start, end, position)
    start = end
  }
}

function readWidth(from: Reader): number {
  const width = from.byte()
  if (!WIDTHS.includes(width)) throw garbled()
  return width
}

function emptyColumn(width: number, length: number): Column {
  if (width === 1) return new Uint8Array(length)
  if (width === 2) return new Uint16Array(length)
  return width === 4 ? new Uint32Array(length) : new Float64Array(length)
}

const garbled = (): Error => argumentError('the cells of a measurement are garbled')

/** Bytes that grow. */
class Writer {
  #bytes: Uint8Array
  #view: DataView
  #length = 0

  constructor(expected: number) {
    this.#bytes = new Uint8Array(expected)
    this.#view = new DataView(this.#bytes.buffer)
  }

  byte(value: number): void {
    this.#bytes[this.#room(1)] = value
  }

  varint(value: number): void {
    let rest = value
    while (rest > 0x7f) {
      this.byte((rest % 0x80) + 0x80)
      rest = Math.floor(rest / 0x80)
    }
    this.byte(rest)
  }

  number(value: number, width: number): void {
    const at = this.#room(width)
    if (width === 1) this.#bytes[at] = value
    else if (width === 2) this.#view.setUint16(at, value, true)
    else if (width === 4) this.#view.setUint32(at, value, true)
    else this.#view.setFloat64(at, value, true)
  }

  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }

  /** Where the next `bytes` go. */
  #room(bytes: number): number {
    const at = this.#length
    this.#length += bytes
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(this.#length * 2)
      larger.set(this.#bytes)
      this.#bytes = larger
      this.#view = new DataView(larger.buffer)
    }
    return at
  }
}

/** Reads bytes, and never behind their end. */
export class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  byte(): number {
    return this.#bytes[this.skip(1)] as number
  }

  varint(): number {
    let value = 0
    for (let digit = 0; digit < MOST_VARINT_BYTES; digit++) {
      const byte = this.byte()
      value += (byte & 0x7f) * 0x80 ** digit
      if (byte < 0x80) return value
    }
    throw garbled()
  }

  /** Goes on by so many bytes, and says where they begin. */
  skip(bytes: number): number {
    const at = this.#at
    if (bytes > this.#bytes.length - at) throw garbled()
    this.#at = at + bytes
    return at
  }

  numberAt(at: number, width: number): number {
    if (width === 1) return this.#view.getUint8(at)
    if (width === 2) return this.#view.getUint16(at, true)
    return width === 4 ? this.#view.getUint32(at, true) : this.#view.getFloat64(at, true)
  }
}
