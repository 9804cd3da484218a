/** What readelf is asked before a binary is published, of binaries that are there anyway. */

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root, run } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'

interface Platform {
  machine: string
  libc: string
}
interface CheckBinary {
  GLIBC_FLOOR: string
  describeBinary(file: string): { machine: string; libc: string; glibc?: string }
  faultsOf(file: string, platform: Platform, floor?: string): string[]
}
const { describeBinary, faultsOf }: CheckBinary = await import(
  `${root}/scripts/build/check-binary.mjs`
)

const here: Platform = { machine: process.arch === 'x64' ? 'X86-64' : 'AArch64', libc: 'glibc' }
const other: Platform = { ...here, machine: process.arch === 'x64' ? 'AArch64' : 'X86-64' }
const binding = join(
  root,
  'native',
  readdirSync(join(root, 'native')).find(name => name.endsWith('.node')) ?? '',
)

it('a binary is for its machine and its libc', () => {
  expect(faultsOf(binding, here)).toEqual([])
  expect(faultsOf(binding, other)).toEqual([expect.stringMatching(/^its machine is .*, not /)])
  expect(faultsOf(binding, { ...here, libc: 'musl' })).toEqual(['its libc is glibc, not musl'])
})

it('the newest version of a symbol is what counts, by number', async () => {
  // 2.17 for clock_gettime; 2.4, later as text, for the protector on x86-64.
  const source = folder()(
    'glibc.c',
    '#include <time.h>\nint now(void) { struct timespec t; return clock_gettime(0, &t); }\n',
  )
  const library = `${source}.so`
  expect(
    await run('cc', ['-shared', '-fPIC', '-fstack-protector-all', '-o', library, source]),
  ).toMatchObject({ status: 0 })
  const { glibc } = describeBinary(library)
  expect(glibc).toBe('2.17')
  expect(faultsOf(library, here, '2.17')).toEqual([])
  expect(faultsOf(library, here, '2.16')).toEqual([
    'it asks for GLIBC_2.17; the floor is GLIBC_2.16',
  ])
  expect(faultsOf(library, here, '2.9')).toHaveLength(1)
  expect(faultsOf(library, here, '2.100')).toEqual([])
})
