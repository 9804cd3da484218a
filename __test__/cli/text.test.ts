import { describe, expect, it } from 'vitest'
import { measuredSize, size } from '../../ts/cli/text.js'

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
