import { describe, expect, it } from 'vitest'
import { isLoopback, parseListenAddress, urlHost } from '../../ts/server/address.js'

describe('an address to listen at', () => {
  it.each([
    ['127.0.0.1:9753', '127.0.0.1', 9753, true],
    ['127.8.9.1:0', '127.8.9.1', 0, true],
    ['localhost:1', '127.0.0.1', 1, true],
    ['[::1]:65535', '::1', 65_535, true],
    ['0.0.0.0:80', '0.0.0.0', 80, false],
    ['[::]:80', '::', 80, false],
    ['192.0.2.7:9753', '192.0.2.7', 9753, false],
    ['[2001:db8::7]:9753', '2001:db8::7', 9753, false],
    ['[::ffff:127.0.0.1]:80', '::ffff:127.0.0.1', 80, true],
    ['[::ffff:192.0.2.7]:80', '::ffff:192.0.2.7', 80, false],
  ])('is %s', (text, address, port, loopback) => {
    expect(parseListenAddress(text, '--listen')).toEqual({ address, port, isLoopback: loopback })
  })

  it.each([
    '',
    ':9753',
    '9753',
    '127.0.0.1',
    '127.0.0.1:',
    '127.0.0.1:65536',
    '127.0.0.1:-1',
    '127.0.0.1:1e3',
    '127.0.0.1:000001',
    '127.0.0.256:80',
    '127.1:80',
    '::1:80',
    '[127.0.0.1]:80',
    '[::1]',
    'example.org:80',
    'http://127.0.0.1:80',
    '127.0.0.1:80/metrics',
    '[fe80::1%eth0]:80',
  ])('is not %j', text => {
    expect(() => parseListenAddress(text, '--listen')).toThrow(
      expect.objectContaining({
        code: 'ERR_ARGUMENT',
        message: expect.stringContaining('--listen: '),
      }),
    )
  })

  it('is one that other hosts reach, if it only begins like the loopback address', () => {
    for (const address of ['12.7.0.1', '128.0.0.1', '::2', '::ffff:128.0.0.1', '1270::1'])
      expect(isLoopback(address), address).toBe(false)
  })

  it('has brackets in a URL where it needs them', () => {
    expect(urlHost('::1')).toBe('[::1]')
    expect(urlHost('127.0.0.1')).toBe('127.0.0.1')
  })
})
