import { describe, expect, it } from 'vitest'
import { parseWindow, parseWindows } from '../../ts/measurement/windows.js'

const refusal = (message: string): object =>
  expect.objectContaining({ code: 'ERR_ARGUMENT', message })

describe('a window', () => {
  it.each([
    [1, 1],
    ['1ms', 1],
    [1.5, 1.5],
    ['1h', 3_600_000],
  ])('%s is %d ms', (window, ms) => expect(parseWindow(window, 'window')).toBe(ms))

  it.each([0, 0.999, 3_600_000.5])('of %d ms is refused', ms =>
    expect(() => parseWindow(ms, 'window')).toThrow(refusal(`window: ${ms} ms is out of range`)),
  )
})

it.each([
  [0.5, 'window: 0.5 ms is out of range', 'Give at least 1ms; a number is milliseconds.'],
  ['10us', "window: '10us' is out of range", 'Give at least 1ms.'],
  ['2h', "window: '2h' is out of range", 'Give at most 1h.'],
  [4e6, 'window: 4000000 ms is out of range', 'Give at most 1h.'],
])('a window of %s is refused with the limit that it exceeds', (window, message, hint) => {
  expect(() => parseWindow(window, 'window')).toThrow(expect.objectContaining({ message, hint }))
})

describe('windows', () => {
  it('are in ascending order, by number, and each once', () => {
    expect(parseWindows(['1s', 200, '50ms', 1000, 200], 'windows')).toEqual([50, 200, 1000])
  })

  it('leave the list that was given as it was', () => {
    const given = [300, 200]
    parseWindows(given, 'windows')
    expect(given).toEqual([300, 200])
  })

  it.each([[[]], ['1s'], [undefined], [{ length: 1 }]])('are refused as %j', given =>
    expect(() => parseWindows(given as never, 'windows')).toThrow(refusal('windows: no window')),
  )

  it('are refused with the one that is wrong', () => {
    expect(() => parseWindows([200, 0], 'windows')).toThrow(
      refusal('windows: 0 ms is out of range'),
    )
  })

  it('are refused with the form in which they are written there', () => {
    expect(() => parseWindows([], '--windows', '50ms,1s')).toThrow(
      expect.objectContaining({ hint: 'Give them as 50ms,1s.' }),
    )
  })
})

it('windows are at most 1000, and none of them is missing', () => {
  const many = Array.from({ length: 1001 }, (_, at) => at + 1)
  expect(parseWindows(many.slice(1), 'windows')).toEqual(many.slice(1))
  expect(() => parseWindows(many, 'windows')).toThrow(refusal('windows: 1001 windows are too many'))
  // biome-ignore lint/suspicious/noSparseArray: it is what is refused
  expect(() => parseWindows([10, , 30] as number[], 'windows')).toThrow(
    refusal('windows[1]: undefined is not a duration'),
  )
})
