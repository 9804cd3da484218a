import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { hasCode } from '../../ts/ground/errors.js'
import { fromNative } from '../../ts/ground/native-errors.js'
import { DirtyRateError, errorCodes } from '../../ts/index.js'
import { describeKvm } from '../fixtures/kvm.js'
import { created } from '../fixtures/machine.js'

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

  it('has details for programs, or none', () => {
    expect(new DirtyRateError('ERR_STATE', 'x').details).toEqual({})
    const details = { call: 'KVM_CREATE_VM', errno: 24 }
    expect(new DirtyRateError('ERR_KVM_IOCTL', 'x', { details }).details).toEqual(details)
  })
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

  it.each(['InvalidArg', 'StringExpected', 'NumberExpected'])(
    '%s of napi-rs is an argument',
    code => {
      expect(fromNative(nativeError(code))).toMatchObject({ code: 'ERR_ARGUMENT' })
    },
  )

  it.each([
    nativeError('ENOENT'),
    nativeError('toString'),
    new Error('no code'),
    'a string',
    undefined,
  ])('leaves %s alone', error => expect(fromNative(error)).toBe(error))

  it('bring the details that the binding has in their cause', () => {
    const native = nativeError('ERR_KVM_IOCTL')
    native.cause = new Error('{"call":"KVM_RUN","errno":11}')
    expect(fromNative(native)).toMatchObject({ details: { call: 'KVM_RUN', errno: 11 } })
    expect(fromNative(nativeError('ERR_CLOSED'))).toMatchObject({ details: {} })
  })

  it('of another realm are known as well', () => {
    const foreign = runInNewContext("Object.assign(new Error('closed'), { code: 'ERR_CLOSED' })")
    expect(foreign).not.toBeInstanceOf(Error)
    expect(hasCode(foreign, 'ERR_CLOSED')).toBe(true)
    expect(fromNative(foreign)).toBeInstanceOf(DirtyRateError)
  })

  it('of another copy of the package stay as they are, hint included', () => {
    const other = Object.assign(nativeError('ERR_STATE'), {
      name: 'DirtyRateError',
      hint: 'Do this.',
    })
    expect(fromNative(other)).toBe(other)
  })

  it('are known by their code, whichever copy of the package made them', () => {
    expect(hasCode(nativeError('ERR_CLOSED'), 'ERR_CLOSED')).toBe(true)
    expect(hasCode({ code: 'ERR_CLOSED' }, 'ERR_CLOSED')).toBe(false)
  })
})

describeKvm('a refusal of the core', () => {
  it('names in its details what its message is about', async () => {
    const vm = await created()
    const block = { name: 'odd', guestAddress: '1GiB', bytes: 5000 }
    await expect(vm.addBlock(block)).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      details: { block: 'odd' },
    })
  })
})
