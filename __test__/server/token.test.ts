import { writeFileSync } from 'node:fs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { readToken, Token } from '../../ts/server/token.js'
import { folder } from '../fixtures/elf.js'

const TEXT = 'f0e1d2c3b4a5968778695a4b3c2d1e0f'
const OTHER = '00112233445566778899aabbccddeeff'

afterEach(() => {
  vi.unstubAllEnvs()
})

const { signal } = new AbortController()

const tokenIn = (content: string): ReturnType<typeof readToken> =>
  readToken(folder()('token', content), '--token-file', signal)

describe('a token', () => {
  it('is recognised in the header, and nothing else is', () => {
    const token = new Token(TEXT)
    expect(token.isIn(`Bearer ${TEXT}`)).toBe(true)
    expect(token.isIn(`bearer  ${TEXT} `)).toBe(true)
    for (const header of [
      undefined,
      '',
      'Bearer',
      'Bearer ',
      TEXT,
      `Basic ${TEXT}`,
      `Bearer ${TEXT}x`,
      `Bearer ${TEXT.slice(1)}`,
      `Bearer ${TEXT.toUpperCase()}`,
      `Bearer ${TEXT} ${TEXT}`,
      `Bearer ${TEXT}, Bearer ${TEXT}`,
      `Bearer "${TEXT}"`,
    ])
      expect(token.isIn(header), header).toBe(false)
  })

  it('is not the empty one, which a missing header is compared as', () => {
    expect(new Token('').isIn(undefined)).toBe(false)
    expect(new Token('').isIn('Bearer ')).toBe(false)
  })

  it.each([TEXT, `${TEXT}\n`, `${TEXT}\r\n`])('is read from a file: %j', async content => {
    expect((await tokenIn(content))?.isIn(`Bearer ${TEXT}`)).toBe(true)
  })

  it('is read from the environment, unless there is a file', async () => {
    vi.stubEnv('DIRTYRATE_TOKEN', TEXT)
    expect((await readToken(undefined, '--token-file', signal))?.isIn(`Bearer ${TEXT}`)).toBe(true)
    const other = TEXT.toUpperCase()
    const token = await tokenIn(other)
    expect(token?.isIn(`Bearer ${other}`)).toBe(true)
    expect(token?.isIn(`Bearer ${TEXT}`)).toBe(false)
  })

  it('is none if nobody gives one', async () => {
    vi.stubEnv('DIRTYRATE_TOKEN', undefined)
    expect(await readToken(undefined, '--token-file', signal)).toBeUndefined()
  })

  it.each([
    ['empty', '', 'the token has 0 characters, and must have 16 to 4096'],
    ['an empty line', '\n', 'the token has 0 characters'],
    ['short', 'short-secret', 'the token has 12 characters'],
    ['very long', 'x'.repeat(4097), 'the token has 4097 characters'],
    ['two lines', `${TEXT}\n${TEXT}\n`, 'characters that a header cannot have'],
    ['followed by a space', `${TEXT} `, 'characters that a header cannot have'],
    ['with an accent', `${TEXT}\u00e9`, 'characters that a header cannot have'],
  ])('is not %s, and the error does not have it', async (_, content, message) => {
    const error = await tokenIn(content).catch((thrown: Error) => thrown)
    expect(error).toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining(message),
    })
    if (content.trim() !== '') expect(JSON.stringify(error)).not.toContain(content.trim())
  })

  it('is not in a file that cannot be read', async () => {
    const file = folder()('token', '')
    writeFileSync(file, TEXT)
    await expect(readToken(`${file}/x`, '--token-file', signal)).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining('--token-file: ENOTDIR'),
    })
  })
})

describe('a token that is renewed', () => {
  it('is the only one from then on', () => {
    const token = new Token(TEXT)
    expect(token.become(new Token(TEXT))).toBe(false)
    expect(token.isIn(`Bearer ${TEXT}`)).toBe(true)
    expect(token.become(new Token(OTHER))).toBe(true)
    expect([token.isIn(`Bearer ${TEXT}`), token.isIn(`Bearer ${OTHER}`)]).toEqual([false, true])
  })
})
