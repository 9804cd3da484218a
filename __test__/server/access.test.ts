import { describe, expect, it } from 'vitest'
import { refusalOf } from '../../ts/server/access.js'
import { Token } from '../../ts/server/token.js'

const TEXT = '00112233445566778899aabbccddeeff'
const open = { hostNames: ['localhost', 'host.example'], token: undefined }

function statusOf(
  headers: object,
  rules: Parameters<typeof refusalOf>[1] = open,
  method = 'GET',
): number | undefined {
  const given = { host: '127.0.0.1:9753', ...headers }
  const distinct = Object.entries(given).map(([name, value]) => [name, [value]])
  const head = { method, headers: given, headersDistinct: Object.fromEntries(distinct) }
  return refusalOf(head, rules)?.status
}

describe('a request', () => {
  it.each([
    '127.0.0.1:9753',
    '127.0.0.1',
    'localhost:9753',
    'LocalHost',
    'localhost.:80',
    'host.example:9753',
    '[::1]:9753',
    '[2001:db8::7]',
    '192.0.2.7:80',
  ])('may ask for %s', host => {
    expect(statusOf({ host })).toBeUndefined()
  })

  it('needs the header Host', () => {
    expect(statusOf({ host: undefined })).toBe(400)
  })

  it.each([
    '',
    'evil.example',
    'evil.example:9753',
    'localhost.evil.example',
    'evil-localhost',
    'host.example.evil',
    '127.0.0.1.evil.example',
    '0x7f.1',
    '[evil]',
    '[::1',
    '::1',
    'localhost:99999999',
    'localhost, evil.example',
    'localhost evil.example',
    'user@localhost',
    'localhost/evil.example',
    'localhost\\evil.example',
  ])('may not ask for the host %j', host => {
    expect(statusOf({ host })).toBe(421)
  })

  it('may come from a page of the server itself, and of no other', () => {
    const host = 'localhost:9753'
    expect(statusOf({ host, origin: 'http://localhost:9753' })).toBeUndefined()
    expect(statusOf({ host, origin: 'https://localhost:9753' })).toBeUndefined()
    for (const origin of [
      'null',
      '',
      'http://evil.example',
      'http://localhost',
      'http://localhost:80',
      'http://127.0.0.1:9753',
      'http://localhost:9753.evil.example',
      'http://localhost:9753/',
      'file://localhost:9753',
      'localhost:9753',
    ])
      expect(statusOf({ host, origin }), origin).toBe(403)
  })

  it('needs the token, if the server has one, whatever it asks for', () => {
    const rules = { ...open, token: new Token(TEXT) }
    expect(statusOf({}, rules)).toBe(401)
    expect(statusOf({ authorization: `Bearer ${TEXT}0` }, rules)).toBe(401)
    expect(statusOf({}, rules, 'POST')).toBe(401)
    expect(statusOf({ authorization: `Bearer ${TEXT}` }, rules)).toBeUndefined()
    // A token does not open the server to the page of somebody else.
    const page = { authorization: `Bearer ${TEXT}`, origin: 'http://evil.example' }
    expect(statusOf(page, rules)).toBe(403)
  })

  it('reads only, and has no body', () => {
    expect(statusOf({}, open, 'HEAD')).toBeUndefined()
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PATCH', ''])
      expect(statusOf({}, open, method), method).toBe(405)
    expect(statusOf({ 'content-length': '0' })).toBeUndefined()
    expect(statusOf({ 'content-length': '1' })).toBe(413)
    expect(statusOf({ 'transfer-encoding': 'chunked' })).toBe(413)
  })
})
