/** Where a kernel file finds RAM. */

import { expect, it } from 'vitest'
import { memoryForKernel, parseMemory } from '../../ts/memory.js'

const GIB = 2 ** 30

it.each(['64MiB', '2GiB', 2 * GIB + 65_536, '5GiB', 7 * GIB + 3 * 65_536])(
  'is from 1 GiB on where QEMU has it there, none of %s is lost, and none is in the hole',
  memory => {
    expect(memoryForKernel(memory, 'x64')).toEqual(parseMemory(memory))
    const blocks = memoryForKernel(memory, 'arm64')
    const sum = (of: { bytes: number }[]): number => of.reduce((bytes, block) => bytes + block.bytes, 0)
    expect(sum(blocks)).toBe(sum(parseMemory(memory)))
    expect(blocks[0]?.guestAddress).toBe(GIB)
    for (const { guestAddress, bytes } of blocks) {
      expect(bytes).toBeGreaterThan(0)
      expect(guestAddress >= 4 * GIB || guestAddress + bytes <= 3 * GIB).toBe(true)
    }
  },
)

it.each(['x64', 'arm64'])('is refused by name where it is no size: %s', arch => {
  for (const memory of ['0', 'much', '5KiB', -1]) {
    expect(() => memoryForKernel(memory, arch)).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT', message: expect.stringContaining('memory') }),
    )
  }
})
