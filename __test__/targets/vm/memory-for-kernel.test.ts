/** Where a kernel file finds RAM. */

import { expect, it } from 'vitest'
import { memoryForKernel, parseMemory } from '../../../ts/targets/vm/memory.js'

const GIB = 2 ** 30

it.each(['64MiB', '2GiB', 2 * GIB + 65_536, 2.75 * GIB, '5GiB', 7 * GIB + 3 * 65_536])(
  'is from where QEMU has it, none of %s is lost, and none is in the hole',
  memory => {
    for (const [arch, from] of [
      ['x64', 0],
      ['arm64', GIB],
    ] as const) {
      const blocks = memoryForKernel(memory, arch)
      const sum = (of: { bytes: number }[]): number =>
        of.reduce((bytes, block) => bytes + block.bytes, 0)
      expect(sum(blocks)).toBe(sum(parseMemory(memory)))
      expect(blocks[0]?.guestAddress).toBe(from)
      for (const { guestAddress, bytes } of blocks) {
        expect(bytes).toBeGreaterThan(0)
        expect(guestAddress >= 4 * GIB || guestAddress + bytes <= 3 * GIB).toBe(true)
      }
    }
  },
)

it.runIf(process.arch === 'x64').each([
  [2.75 * GIB - 65_536, 2.75 * GIB - 65_536],
  [2.75 * GIB, 2 * GIB],
  [5 * GIB, 2 * GIB],
])('of %d bytes, q35 has %d below 4 GiB', (memory, low) => {
  expect(parseMemory(memory)[0]?.bytes).toBe(low)
})

it.each(['x64', 'arm64'])('is refused by name where it is no size: %s', arch => {
  for (const memory of ['0', 'much', '5KiB', -1]) {
    expect(() => memoryForKernel(memory, arch)).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT', message: expect.stringContaining('memory') }),
    )
  }
})
