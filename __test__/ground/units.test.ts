import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseChoice, parseCount, parseCountText } from '../../ts/ground/arguments.js'
import {
  formatRate,
  formatSize,
  parseDuration,
  parseRate,
  parseSize,
} from '../../ts/ground/units.js'

const failure = (call: () => unknown): { code: string; message: string; hint: string } => {
  try {
    call()
  } catch (error) {
    return error as { code: string; message: string; hint: string }
  }
  throw new Error('it was accepted')
}

describe('durations', () => {
  it.each([
    ['1s', 1000],
    ['250ms', 250],
    ['1.5min', 90_000],
    ['1h', 3_600_000],
    ['500us', 0.5],
    // The micro sign, and the Greek letter that looks the same.
    ['500\u00b5s', 0.5],
    ['500\u03bcs', 0.5],
    ['500µs', 0.5],
    ['250ns', 0.00025],
    ['1.25s', 1250],
    ['.25s', 250],
    [' 2 s ', 2000],
    [0, 0],
    ['0s', 0],
    [250, 250],
    [0.5, 0.5],
  ])('%s is %d ms', (text, ms) => expect(parseDuration(text, 'window')).toBeCloseTo(ms, 9))

  it.each([
    Number.NaN,
    -1,
    Number.POSITIVE_INFINITY,
    '',
    's',
    '-1s',
    '1 s s',
    '1e3ms',
    '0x10ms',
    '1,5s',
    null,
    {},
  ])('refuses %s', value => {
    const error = failure(() => parseDuration(value as never, 'window'))
    expect(error).toMatchObject({ code: 'ERR_ARGUMENT' })
    expect(error.message).toMatch(/^window: /)
    expect(error.hint).toContain('1s')
  })

  it('names the units there are', () => {
    expect(failure(() => parseDuration('1S', '--window'))).toMatchObject({
      message: "--window: 'S' is not a unit of a duration",
      hint: expect.stringContaining('ms, s, min, h'),
    })
    expect(failure(() => parseDuration('1constructor', 'window')).code).toBe('ERR_ARGUMENT')
  })

  it.each([
    ['1', '1s'],
    ['49', '49s'],
    ['50', '50ms'],
    ['1000', '1000ms'],
  ])('takes a bare %s for %s, and only says so', (text, likely) => {
    expect(failure(() => parseDuration(text, '--window'))).toMatchObject({
      hint: `Did you mean ${likely}?`,
    })
  })
})

describe('sizes', () => {
  it.each([
    ['4GiB', 4 * 2 ** 30],
    ['1.5KiB', 1536],
    ['1GB', 1e9],
    ['4096B', 4096],
    [4096, 4096],
    ['1TiB', 2 ** 40],
    ['4100.096kB', 4_100_096],
    ['0.000001GB', 1000],
    ['9007199.254740991GB', Number.MAX_SAFE_INTEGER],
    ['1MiB', 2 ** 20],
    ['1kB', 1e3],
    ['1MB', 1e6],
    ['1TB', 1e12],
    [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  ])('%s is %d bytes', (text, bytes) => expect(parseSize(text, 'memory')).toBe(bytes))

  it.each([
    Number.NaN,
    -4096,
    0.5,
    2 ** 60,
    Number.POSITIVE_INFINITY,
    '1.0001KiB',
    '1048576TiB',
    '4503599627370497.5B',
    '0.0001kB',
    `${'9'.repeat(101)}B`,
    '4G',
    'GiB',
  ])('refuses %s', value =>
    expect(failure(() => parseSize(value, 'memory')).code).toBe('ERR_ARGUMENT'),
  )

  it.each([
    ['1', '1GiB'],
    ['64', '64GiB'],
    ['65', '65MiB'],
    ['512', '512MiB'],
    ['1048575', '1048575MiB'],
    ['1048576', '1048576B'],
    ['1073741824', '1073741824B'],
  ])('takes a bare %s for %s, and only says so', (text, likely) => {
    expect(failure(() => parseSize(text, '--memory'))).toMatchObject({
      hint: `Did you mean ${likely}?`,
    })
  })

  it.each([
    [0, '0B'],
    [1023, '1023B'],
    [1024, '1KiB'],
    [1536, '1536B'],
    [3 * 2 ** 20, '3MiB'],
    [2 ** 30, '1GiB'],
    [2 ** 30 + 1024, '1048577KiB'],
    [5 * 2 ** 40, '5TiB'],
  ])('%d bytes are written as %s', (bytes, text) => expect(formatSize(bytes)).toBe(text))

  it('reads back what it writes', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), bytes => {
        expect(parseSize(formatSize(bytes), 'size')).toBe(bytes)
      }),
    )
  })

  it('accepts a number exactly when it is a whole, safe one', () => {
    fc.assert(
      fc.property(fc.double(), value => {
        if (Number.isSafeInteger(value) && value >= 0) expect(parseSize(value, 'size')).toBe(value)
        else expect(failure(() => parseSize(value, 'size')).code).toBe('ERR_ARGUMENT')
      }),
    )
  })

  it.each([Object.create(null), { toString: null }, [Object.create(null)]])(
    'says so of an object without a string to give: %#',
    value => {
      for (const parse of [parseSize, parseDuration, parseRate]) {
        expect(() => parse(value as never, 'x')).toThrow(
          expect.objectContaining({
            code: 'ERR_ARGUMENT',
            message: expect.stringContaining('x: an object is not'),
          }),
        )
      }
    },
  )

  it('never throws anything but ERR_ARGUMENT', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.anything()), value => {
        for (const parse of [parseSize, parseDuration, parseRate]) {
          try {
            expect(parse(value as never, 'x')).toBeGreaterThanOrEqual(0)
          } catch (error) {
            expect(error).toMatchObject({ code: 'ERR_ARGUMENT', hint: expect.stringMatching(/./) })
          }
        }
      }),
    )
  })
})

describe('rates', () => {
  it.each([
    ['100MiB/s', 100 * 2 ** 20],
    ['400MB/s', 4e8],
    ['10Gbit/s', 1.25e9],
    ['8bit/s', 1],
    ['0.3MB/s', 300_000],
    ['1.1Gbit/s', 137_500_000],
    ['8kbit/s', 1000],
    ['8Mbit/s', 1e6],
    ['1Tbit/s', 1.25e11],
    [1000, 1000],
    [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  ])('%s is %d bytes per second', (text, rate) => expect(parseRate(text, 'rate')).toBe(rate))

  it.each([0, '0MiB/s', '100MiB', -1, Number.NaN, 2 ** 60])('refuses %s', value =>
    expect(failure(() => parseRate(value, 'rate')).code).toBe('ERR_ARGUMENT'),
  )

  it('reads back what it writes', () => {
    const whole = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
    const any = fc.double({ min: 1e-12, max: Number.MAX_SAFE_INTEGER, noNaN: true })
    fc.assert(
      fc.property(fc.oneof(whole, any), rate => {
        expect(parseRate(formatRate(rate), 'rate')).toBe(rate)
      }),
      { numRuns: 1000 },
    )
  })
})

describe('rates without a unit', () => {
  it.each([
    ['1048575', '1048575MiB/s'],
    ['1048576', '1048576B/s'],
  ])('a bare %s is taken for %s', (text, likely) => {
    expect(failure(() => parseRate(text, '--rate'))).toMatchObject({
      hint: `Did you mean ${likely}?`,
    })
  })
})

describe('hints', () => {
  const hint = (call: () => unknown): string => failure(call).hint
  const never = (): boolean => false

  it('propose for a bare number the first unit that the caller takes', () => {
    expect(hint(() => parseSize('1.5', 'memory'))).toBe('Did you mean 1.5GiB?')
    expect(hint(() => parseSize('2', 'memory', bytes => bytes < 2 ** 30))).toBe(
      'Did you mean 2MiB?',
    )
    expect(hint(() => parseSize('9007199254740991', 'memory'))).toBe(
      'Did you mean 9007199254740991B?',
    )
  })

  it.each([
    // 0.3 is a whole number of bytes in no unit, 2^53 is too many, and `never` takes nothing.
    ['0.3', undefined],
    ['9007199254740992', undefined],
    ['2', never],
  ])('propose no unit for %s where none would be taken', (text, accepts) =>
    expect(hint(() => parseSize(text, 'memory', accepts))).toMatch(/^Write it with its unit: 4GiB/),
  )

  it('propose the unit that a mistaken one resembles, where the caller takes it', () => {
    expect(hint(() => parseSize('4gib', 'memory'))).toMatch(/^Did you mean 4GiB\? Units: /)
    for (const call of [
      () => parseSize('4gib', 'memory', never),
      () => parseSize('0.3gib', 'memory'),
      () => parseSize('4parsecs', 'memory'),
      () => parseDuration('4parsecs', 'window'),
    ])
      expect(hint(call)).toMatch(/^Units: /)
  })
})

describe('long texts', () => {
  const ofLength = (length: number): string => `1s`.padStart(length, '0')

  it('are read up to a hundred characters', () => {
    expect(parseDuration(ofLength(100), 'window')).toBe(1000)
    expect(failure(() => parseDuration(ofLength(101), 'window')).message).toContain(
      'is not a duration',
    )
  })

  it('are shown whole up to a hundred characters', () => {
    const shown = (text: string): string => failure(() => parseCountText(text, 'vcpus', 1)).message
    expect(shown('9'.repeat(100))).toContain('9'.repeat(100))
    expect(shown('9'.repeat(101))).toContain(`${'9'.repeat(80)}...${'9'.repeat(20)} `)
  })
})

describe('choices', () => {
  it('are one of those there are, and listed when they are not', () => {
    expect(parseChoice('b', 'letter', ['a', 'b'])).toBe('b')
    expect(failure(() => parseChoice('nothing of the kind', 'letter', ['a', 'b']))).toMatchObject({
      message: "letter: 'nothing of the kind' is not known",
      hint: 'Known: a, b.',
    })
    expect(failure(() => parseChoice(undefined, 'letter', ['a', 'b'])).code).toBe('ERR_ARGUMENT')
  })
})

describe('counts', () => {
  it.each([0, 5, 1.5, Number.NaN, Number.MAX_SAFE_INTEGER + 1])('refuses %d of 1 to 4', count =>
    expect(failure(() => parseCount(count, 'vcpus', 1, 4)).hint).toBe(
      'Give a whole number from 1 to 4.',
    ),
  )
  it('has no upper bound but that of numbers', () => {
    expect(parseCount(1, 'pages', 1)).toBe(1)
    expect(parseCount(Number.MAX_SAFE_INTEGER, 'pages', 1)).toBe(Number.MAX_SAFE_INTEGER)
    expect(failure(() => parseCount(0, 'pages', 1)).hint).toBe('Give a whole number of at least 1.')
    // Who has exceeded the largest number is told of it.
    const largest = 'Give a whole number from 1 to 9007199254740991.'
    expect(failure(() => parseCount(2 ** 53, 'pages', 1)).hint).toBe(largest)
    expect(failure(() => parseCountText('9'.repeat(30), 'pages', 1)).hint).toBe(largest)
  })
  it.each(['', '-1', '1.5', '1e3', ' 1', '0x10', '99999999999999999999'])("refuses '%s'", text =>
    expect(failure(() => parseCountText(text, '--vcpus', 1)).code).toBe('ERR_ARGUMENT'),
  )
  it('shows what was written, by its beginning and its end where it is long', () => {
    const shown = (text: string) => failure(() => parseCountText(text, 'pages', 1, 4)).message
    expect(shown('0005')).toBe('pages: 0005 is out of range')
    expect(shown('9'.repeat(400))).toBe(
      `pages: ${'9'.repeat(80)}...${'9'.repeat(20)} is out of range`,
    )
    expect(shown(`${'9'.repeat(400)}k`)).toMatch(
      /^pages: '9{80}\.\.\.9{19}k' is not a whole number$/,
    )
  })
  it('keeps to its range', () => {
    expect(parseCountText('4', '--vcpus', 1, 4)).toBe(4)
    expect(parseCountText('128', '--vcpus', 1)).toBe(128)
    expect(failure(() => parseCountText('5', '--vcpus', 1, 4)).hint).toBe(
      'Give a whole number from 1 to 4.',
    )
  })
})

describe('decimals', () => {
  /** Thousandths of a byte, computed in whole numbers. */
  const FACTORS = { B: 1n, kB: 1000n, KiB: 1024n, MB: 1_000_000n, MiB: 2n ** 20n, GiB: 2n ** 30n }

  it('are exact: a size is taken if and only if what is written is a whole number of bytes', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 10 ** 7 }),
        fc.nat({ max: 999_999 }),
        fc.constantFrom(...(Object.keys(FACTORS) as (keyof typeof FACTORS)[])),
        (whole, millionths, unit) => {
          const text = `${whole}.${String(millionths).padStart(6, '0')}${unit}`
          fc.pre(BigInt(whole + 1) * FACTORS[unit] <= 2n ** 53n)
          const exact = (BigInt(whole) * 1_000_000n + BigInt(millionths)) * FACTORS[unit]
          if (exact % 1_000_000n === 0n)
            expect(BigInt(parseSize(text, 'size'))).toBe(exact / 1_000_000n)
          else
            expect(failure(() => parseSize(text, 'size')).message).toContain(
              'whole number of bytes',
            )
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('of a duration are the nearest number of milliseconds', () => {
    expect(parseDuration('1.1s', 'window')).toBe(1100)
    expect(parseDuration('0.3us', 'window')).toBe(0.0003)
    expect(parseDuration('1.005min', 'window')).toBe(60_300)
  })
})
