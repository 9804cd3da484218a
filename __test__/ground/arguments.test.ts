/**
 * Arguments that are no quantities: each function accepts what it should, and refuses everything
 * else with an error that says what was wrong.
 */

import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import {
  parseArray,
  parseFlag,
  parseListener,
  parseOptions,
  parseSignal,
  parseText,
  SIGNAL,
} from '../../ts/ground/arguments.js'

// biome-ignore lint/suspicious/noExplicitAny: so that what the types refuse can be written
const wrong = (value: unknown): any => value
const refused = (call: () => unknown, message: string): void =>
  expect(call).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT', message }))

describe('a text', () => {
  it('is a string with something in it', () => {
    expect(parseText('x', 'name')).toBe('x')
    refused(() => parseText('', 'name'), 'name: it is empty')
    refused(() => parseText(wrong(5), 'name'), 'name: 5 is not a string')
    refused(() => parseText(wrong([]), 'name'), 'name: [] is not a string')
    refused(() => parseText(wrong([1, 'x']), 'name'), 'name: [1,x] is not a string')
  })
})

describe('a flag', () => {
  it('is true or false', () => {
    expect(parseFlag(true, 'flag')).toBe(true)
    expect(parseFlag(false, 'flag')).toBe(false)
    refused(() => parseFlag(wrong(0), 'flag'), 'flag: 0 is not true or false')
  })
})

describe('a listener', () => {
  it('can be called', () => {
    const listener = (): void => {}
    expect(parseListener(listener, 'listener')).toBe(listener)
    refused(
      () => parseListener(wrong({}), 'listener'),
      'listener: [object Object] is not a function',
    )
  })
})

describe('options', () => {
  it('of a call that takes only a signal are refused with another key', () => {
    const options = { signal: new AbortController().signal }
    expect(parseOptions(options, SIGNAL)).toBe(options)
    refused(
      () => parseOptions(wrong({ sginal: options.signal }), SIGNAL),
      "options: 'sginal' is not known",
    )
  })

  it('are an object that has no key but those there are', () => {
    const options = { window: 1 }
    expect(parseOptions(options, { window: true })).toBe(options)
    refused(() => parseOptions(wrong(null), {}), 'options: null is not an object')
    refused(() => parseOptions(wrong('x'), {}, 'machine'), "machine: 'x' is not an object")
    expect(() => parseOptions(wrong({ windw: 1 }), { window: true })).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT', hint: expect.stringContaining("'window'") }),
    )
  })
})

describe('a signal', () => {
  it('is what an AbortController has, or none', () => {
    const { signal } = new AbortController()
    expect(parseSignal(signal)).toBe(signal)
    expect(parseSignal(undefined)).toBeUndefined()
    expect(parseSignal(null)).toBeUndefined()
    refused(() => parseSignal(wrong({})), 'signal: [object Object] is not an AbortSignal')
    refused(
      () => parseSignal(wrong({ throwIfAborted: 1 })),
      'signal: [object Object] is not an AbortSignal',
    )
  })
})

describe('an array', () => {
  it('has its type, and memory of its own', () => {
    const words = new BigUint64Array(2)
    expect(parseArray(words, 'BigUint64Array', 'into')).toBe(words)
    refused(() => parseArray(wrong([1]), 'BigUint64Array', 'into'), 'into: not a BigUint64Array')
    refused(
      () => parseArray(wrong({ [Symbol.toStringTag]: 'Uint8Array' }), 'Uint8Array', 'into'),
      'into: not a Uint8Array',
    )
    refused(
      () => parseArray(wrong(new Uint8Array(1)), 'Uint32Array', 'into'),
      'into: not a Uint32Array',
    )
    refused(
      () => parseArray(new Uint8Array(new SharedArrayBuffer(8)), 'Uint8Array', 'into'),
      'into: it uses shared memory',
    )
  })

  it('may come from another realm', () => {
    const foreign = runInNewContext('new Uint8Array(2)')
    expect(parseArray(foreign, 'Uint8Array', 'into')).toBe(foreign)
  })
})
