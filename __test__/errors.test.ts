import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { fromNative, hasCode } from '../ts/errors.js'
import { DirtyRateError, errorCodes } from '../ts/index.js'
import { root } from './fixtures/command.js'

const nativeError = (code: string, message = 'what happened'): Error =>
  Object.assign(new Error(message), { code })

describe('DirtyRateError', () => {
  it.each([...errorCodes])('%s has a hint that is a sentence', code => {
    expect(new DirtyRateError(code, 'x').hint).toMatch(/^[A-Z].{20,}[.)]$/)
  })

  it('keeps a better hint, and the cause', () => {
    const cause = new Error('why')
    const error = new DirtyRateError('ERR_STATE', 'x', { hint: 'Do this.', cause })
    expect(error).toMatchObject({
      name: 'DirtyRateError',
      code: 'ERR_STATE',
      message: 'x',
      hint: 'Do this.',
      cause,
    })
    expect(error).toBeInstanceOf(Error)
  })
})

it('every code is in the table of the README, in its order', () => {
  const table = readFileSync(join(root, 'README.md'), 'utf8').match(/^\| `ERR_.*\|$/gm) ?? []
  expect(table.flatMap(row => row.match(/ERR_\w+/g) ?? [])).toEqual([...errorCodes])
})

describe('native errors', () => {
  it('get the hint of their code, and keep their text', () => {
    const native = nativeError('ERR_KVM_ABSENT')
    expect(fromNative(native)).toMatchObject({
      code: 'ERR_KVM_ABSENT',
      message: 'what happened',
      hint: expect.stringContaining('kvm module'),
      cause: native,
    })
  })

  it.each(['InvalidArg', 'StringExpected', 'NumberExpected'])('%s of napi-rs is an argument', code => {
    expect(fromNative(nativeError(code))).toMatchObject({ code: 'ERR_ARGUMENT' })
  })

  it.each([nativeError('ENOENT'), nativeError('toString'), new Error('no code'), 'a string', undefined])(
    'leaves %s alone',
    error => expect(fromNative(error)).toBe(error),
  )

  it('are known by their code, whichever copy of the package made them', () => {
    expect(hasCode(nativeError('ERR_CLOSED'), 'ERR_CLOSED')).toBe(true)
    expect(hasCode({ code: 'ERR_CLOSED' }, 'ERR_CLOSED')).toBe(false)
  })
})
