import { describe, expect, it } from 'vitest'
import { measuredSize, shellWord, size, visible } from '../../ts/cli/text.js'
import { run } from '../fixtures/command.js'

describe('a size', () => {
  it.each([
    [0, '0 B', '0 B'],
    [512, '512 B', '512 B'],
    [4096, '4 KiB', '4.0 KiB'],
    [2 * 2 ** 20, '2 MiB', '2.0 MiB'],
    [2 * 2 ** 20 + 4096, '2 MiB', '2.0 MiB'],
    [2.5 * 2 ** 20, '2.5 MiB', '2.5 MiB'],
    [2 ** 40, '1 TiB', '1.0 TiB'],
  ])('of %d bytes has one form, and one in a column', (bytes, text, column) => {
    expect([size(bytes), measuredSize(bytes)]).toEqual([text, column])
  })
})

describe('a text of somebody else', () => {
  it('cannot turn the text after it round, end a line, or move the cursor', () => {
    expect(visible('a\u202eb\u2066c\u200f')).toBe('a\\u202eb\\u2066c\\u200f')
    expect(visible('\x1b[31m\x9b\u2028\n')).toBe('\\x1b[31m\\u009b\\u2028\\n')
  })

  it.each(['\x9b31m', 'a\u202eb', '\u2028', "\x1b'\\"])('is itself to a shell: %j', async text => {
    const env = { LC_ALL: 'C.UTF-8' }
    const { stdout } = await run('bash', ['-c', `printf %s ${shellWord(text)}`], { env })
    expect(stdout).toBe(text)
    // A terminal shows the word as it is.
    expect(visible(shellWord(text))).toBe(shellWord(text))
  })
})
