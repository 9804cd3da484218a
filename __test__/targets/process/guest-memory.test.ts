/** The rules that find a guest's memory, on texts of processes as they were seen. */

import { describe, expect, it } from 'vitest'
import { argumentError } from '../../../ts/ground/errors.js'
import {
  chooseMemory,
  formatRanges,
  parseRanges,
} from '../../../ts/targets/process/guest-memory.js'
import { parseMaps } from '../../../ts/targets/process/maps.js'
import type { ProcessFacts } from '../../../ts/targets/process/vmms/vmm.js'

const MIB = 2 ** 20
const GIB = 2 ** 30

interface Part {
  mib?: number
  kib?: number
  permissions?: string
  path?: string
  flags?: string
  /** Bytes between this mapping and the one before. */
  gap?: number
}

/** A text of smaps with mappings one behind the other. */
function smaps(parts: readonly Part[]): string {
  let at = 0x7f00_0000_0000
  return parts
    .map(({ mib = 0, kib = 0, permissions = 'rw-p', path = '', flags = '', gap = 0 }) => {
      const start = at + gap
      at = start + mib * MIB + kib * 1024
      const inode = path === '' || path.startsWith('[') ? 0 : 2068
      return `${start.toString(16)}-${at.toString(16)} ${permissions} 00000000 00:01 ${inode}     ${path}\nRss:   0 kB\nVmFlags: rd wr mr mw me ${flags}\n`
    })
    .join('')
}

const guard: Part = { kib: 4, permissions: '---p' }

/** A process with these mappings. */
function processOf(
  program: string,
  commandLine: string,
  parts: readonly Part[],
  vcpus = 1,
): ProcessFacts {
  return {
    pid: 42,
    program,
    commandLine: [program, ...commandLine.split(' ')],
    mappings: parseMaps(smaps(parts)),
    vcpus,
  }
}

const nothing = { ranges: undefined, minBytes: undefined }

/** What is chosen, in MiB from the beginning of the mappings, and its guest addresses. */
function chosenOf(process: ProcessFacts, given: Parameters<typeof chooseMemory>[1] = nothing) {
  const { ranges } = chooseMemory(process, given)
  return ranges.map(({ name, start, end, guestAddress }) => ({
    name,
    at: (start - 0x7f00_0000_0000) / MIB,
    mib: (end - start) / MIB,
    guestAddress,
  }))
}

const QEMU = 'qemu-system-x86_64'
const vram: Part[] = [{ mib: 16, flags: 'dc ac hg mg' }, guard]
const codeBuffer: Part = { kib: 1023.996 * 1024, permissions: 'rwxp', flags: 'ac', gap: MIB }

describe('maps', () => {
  it('has addresses, permissions, names and flags', () => {
    const text =
      '7f0000000000-7f0020000000 rw-s 00001000 00:01 2068                       /memfd:a b (deleted)\nSize: 1 kB\nVmFlags: rd wr sh dc hg \nffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n'
    const [first, ...others] = parseMaps(text)
    expect(others).toEqual([])
    expect(first).toMatchObject({
      start: 0x7f00_0000_0000,
      bytes: 512 * MIB,
      permissions: 'rw-s',
      inode: 2068,
      path: '/memfd:a b (deleted)',
    })
    expect([...(first?.flags ?? [])]).toEqual(['rd', 'wr', 'sh', 'dc', 'hg'])
  })
})

describe("QEMU's memory", () => {
  it.each(['-m 512', '-m 512M', '-m size=512M,slots=2,maxmem=2G', '--m 0.5G'])(
    'is the block of the size that %s names',
    memory => {
      const parts = [...vram, { mib: 512, flags: 'dc ac hg mg' }, guard, codeBuffer]
      expect(chosenOf(processOf(QEMU, memory, parts))).toEqual([
        { name: 'ram', at: 16 + 4 / 1024, mib: 512, guestAddress: 0 },
      ])
    },
  )

  it('has no block without a guard page and the flag dc', () => {
    const parts = [{ mib: 512, flags: 'ac hg mg' }, guard, { mib: 512, flags: 'dc', gap: MIB }]
    expect(() => chosenOf(processOf(QEMU, '-m 512', parts))).toThrow(
      expect.objectContaining({
        code: 'ERR_TARGET_ABSENT',
        message: expect.stringContaining('MADV_DONTFORK'),
        hint: expect.stringContaining('range=START-END, as in /proc/42/maps'),
      }),
    )
  })

  it('has its guest addresses on both sides of the hole of q35 and of pc', () => {
    const parts = [{ mib: 4096, flags: 'dc ac hg mg' }, guard]
    const [high, low] = [4 * GIB, 0]
    expect(chosenOf(processOf(QEMU, '-machine q35,smm=off -m 4G', parts))).toEqual([
      { name: 'ram-low', at: 0, mib: 2048, guestAddress: low },
      { name: 'ram-high', at: 2048, mib: 2048, guestAddress: high },
    ])
    expect(chosenOf(processOf(QEMU, '-M pc-i440fx-7.2 -machine smm=off -m 4G', parts))).toEqual([
      { name: 'ram-low', at: 0, mib: 3072, guestAddress: low },
      { name: 'ram-high', at: 3072, mib: 1024, guestAddress: high },
    ])
    expect(chosenOf(processOf(QEMU, '-M microvm -m 4G', parts))).toMatchObject([
      { name: 'ram', guestAddress: undefined },
    ])
  })

  it('has the blocks of its memory backends, also in the JSON of libvirt', () => {
    const parts = [
      { mib: 256, permissions: 'rw-s', path: '/memfd:m0 (deleted)', flags: 'sh dc hg' },
      guard,
      { mib: 1024, flags: 'dc ac hg mg', gap: MIB },
      guard,
      ...vram,
    ]
    const commandLine =
      '-m 256,slots=2,maxmem=4G -object memory-backend-ram,id=d,,1,size=1G -object {"qom-type":"memory-backend-memfd","id":"m0","size":268435456}'
    expect(chosenOf(processOf(QEMU, commandLine, parts))).toEqual([
      { name: 'ram0', at: 0, mib: 256, guestAddress: undefined },
      { name: 'ram1', at: 257 + 4 / 1024, mib: 1024, guestAddress: undefined },
    ])
  })

  it('is all that is large if no size fits, and says so', () => {
    const parts = [{ mib: 300, flags: 'dc' }, guard, ...vram]
    const { ranges, description } = chooseMemory(processOf(QEMU, '-m 512', parts), nothing)
    expect(ranges).toHaveLength(1)
    expect(description.why.join(' ')).toContain('video memory may be among them')
  })

  it('leaves other large blocks out, and names them', () => {
    const parts = [{ mib: 512, flags: 'dc' }, guard, { mib: 256, flags: 'dc', gap: MIB }, guard]
    const { ranges, description } = chooseMemory(processOf(QEMU, '-m 512', parts), nothing)
    expect(ranges).toHaveLength(1)
    expect(description.why.join(' ')).toContain('256MiB')
    const all = chosenOf(processOf(QEMU, '-m 512', parts), { ...nothing, minBytes: 256 * MIB })
    expect(all.map(({ mib }) => mib)).toEqual([512, 256])
  })

  it.each([
    ['qemu-system-aarch64', '-M virt'],
    [QEMU, '-numa node'],
    [QEMU, '-M q35,max-ram-below-4g=1G'],
  ])('has no known place where no rule is known: %s %s', (program, options) => {
    const parts = [{ mib: 4096, flags: 'dc' }, guard]
    expect(chosenOf(processOf(program, `${options} -m 4G`, parts))).toMatchObject([
      { name: 'ram', guestAddress: undefined },
    ])
  })
})

describe('the memory of other VMMs', () => {
  it('of Cloud Hypervisor has its part above 4 GiB first', () => {
    const parts = [
      { mib: 4096, flags: 'nr dd hg' },
      { mib: 200, flags: 'nr', gap: MIB },
    ]
    expect(chosenOf(processOf('cloud-hypervisor', '--memory size=4G', parts))).toEqual([
      { name: 'ram-high', at: 0, mib: 1024, guestAddress: 4 * GIB },
      { name: 'ram-low', at: 1024, mib: 3072, guestAddress: 0 },
    ])
    // A region for hot-plugged memory lies below the RAM, and where is not known.
    const grown = [{ mib: 1536, flags: 'nr dd hg' }]
    const commandLine = '--memory size=512M,hotplug_method=virtio-mem,hotplug_size=1G'
    expect(chosenOf(processOf('cloud-hypervisor', commandLine, grown))).toMatchObject([
      { name: 'ram', guestAddress: undefined },
    ])
  })

  it('of Firecracker and of crosvm is found, and is said to be untested', () => {
    const large = [{ mib: 512, flags: 'nr' }]
    const { description } = chooseMemory(processOf('firecracker', '--id 1', large), nothing)
    expect(description.why.join(' ')).toContain('has not been tested')
    const memfd = [{ mib: 512, permissions: 'rw-s', path: '/memfd:crosvm_guest (deleted)' }]
    expect(chosenOf(processOf('crosvm', 'run', memfd))).toHaveLength(1)
  })

  it('of this package is neither dumped nor copied to a child', () => {
    const library = { kib: 64, permissions: 'r-xp', path: '/x/dirtyrate.linux-x64-gnu.node' }
    const parts = [{ mib: 64, flags: 'dc nr dd' }, { mib: 64, flags: 'dc nr', gap: MIB }, library]
    expect(chosenOf(processOf('node', 'x.js', parts))).toHaveLength(1)
  })

  it('of an unknown program is what is large, if it has vCPUs or the caller says a size', () => {
    const parts = [
      { mib: 512, flags: 'nr' },
      { mib: 512, path: '[heap]', gap: MIB },
      { mib: 512, path: '/dev/dri/card0', permissions: 'rw-s', gap: MIB },
      codeBuffer,
    ]
    expect(chosenOf(processOf('mine', '', parts))).toHaveLength(1)
    expect(() => chosenOf(processOf('mine', '', parts, 0))).toThrow(
      expect.objectContaining({ message: expect.stringContaining('has no vCPU at KVM') }),
    )
    const given = { ...nothing, minBytes: MIB }
    expect(chosenOf(processOf('mine', '', parts, 0), given)).toHaveLength(1)
  })

  it('is left alone where a userfaultfd serves it', () => {
    const served = [{ mib: 512, flags: 'dc um nh' }, guard, { mib: 256, flags: 'dc' }, guard]
    const commandLine = '-m 512 -object memory-backend-ram,id=d,size=256M'
    const { ranges, description } = chooseMemory(processOf(QEMU, commandLine, served), nothing)
    expect(ranges.map(({ start, end }) => (end - start) / MIB)).toEqual([256])
    expect(description.why.join(' ')).toContain('userfaultfd')
    expect(() => chooseMemory(processOf(QEMU, '-m 512', served), nothing)).toThrow(
      expect.objectContaining({ code: 'ERR_STATE' }),
    )
  })
})

describe('range=', () => {
  it('has the form of /proc/PID/maps, with and without 0x', () => {
    const ranges = parseRanges('7f0000001000-7f0000002000:0x7f0000003000-0x7F0000004000')
    expect(formatRanges(ranges)).toBe('0x7f0000001000-0x7f0000002000:0x7f0000003000-0x7f0000004000')
    expect(parseRanges(formatRanges(ranges))).toEqual(ranges)
    const process = processOf('mine', '', [], 0)
    expect(chooseMemory(process, { ranges, minBytes: undefined }).ranges).toEqual(ranges)
  })

  it.each([
    '',
    '1000',
    '2000-1000',
    '1000-1000',
    '1000-2000:1800-3000',
    'x-y',
    '1-ffffffffffffffff',
  ])('refuses %j', text => {
    expect(() => parseRanges(text)).toThrow(
      expect.objectContaining({
        code: argumentError('').code,
        message: expect.stringMatching(/^range: /),
      }),
    )
  })
})
