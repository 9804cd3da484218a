/** The URI in a result opens the same target again. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  buildGuest,
  openTarget,
  type VirtualMachine,
  type Workload,
  workload,
} from '../../../ts/index.js'
import { formatTargetUri, parseTargetUri } from '../../../ts/targets/uri.js'
import {
  kernelOfUri,
  uriOfKernel,
  uriOfWorkload,
  workloadOfUri,
} from '../../../ts/targets/vm/images.js'
import {
  creationOfUri,
  memoryOfUri,
  uriOfCreation,
  uriOfMemory,
} from '../../../ts/targets/vm/machine.js'
import { memoryForKernel, parseMemory } from '../../../ts/targets/vm/memory.js'
import { makeWorkload, type WorkloadKind, workloadKinds } from '../../../ts/targets/vm/workload.js'
import { describeKvm } from '../../fixtures/kvm.js'
import { created, MEMORY, PAGE, running } from '../../fixtures/machine.js'

const rate = fc.oneof(
  fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  fc.double({ min: 1e-9, max: 2 ** 53 - 1, noNaN: true }),
  fc.constantFrom('1bit/s', '0.3MB/s', '1.5GiB/s', '0.000001B/s'),
)
/** A guest keeps no rate by its clock that is below a byte per second. */
const byClock = fc.record({
  rate: fc.double({ min: 1, max: 2 ** 53 - 1, noNaN: true }),
  pacing: fc.constant('clock' as const),
})
const pacing = fc.oneof(
  fc.constant({}),
  fc.record({ rate }),
  byClock,
  fc.record({ granted: fc.boolean() }),
)
const placing = fc.record(
  {
    sharing: fc.constantFrom('split', 'shared'),
    placement: fc.constantFrom('packed', 'spread', 'even'),
  } as const,
  { requiredKeys: [] },
)
const pages = fc.integer({ min: 1, max: 2 ** 40 })
const seed = fc.record({ seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }) }, { requiredKeys: [] })

const anyWorkload: fc.Arbitrary<Workload> = fc
  .tuple(fc.constantFrom(...workloadKinds), pages, pacing, placing, seed)
  .map(([kind, pages, pacing, placing, seed]) => {
    if (kind === 'idle') return makeWorkload(kind, { pages: 0 })
    const drawn = kind === 'random' || kind === 'hot-cold' ? seed : {}
    return makeWorkload(kind, { pages, ...pacing, ...placing, ...drawn })
  })

const text = fc.oneof(
  fc.string(),
  fc.string({ unit: 'grapheme' }),
  fc.stringMatching(/^[ ,=:"'\\\n]*$/),
)

/** Written as a URI with the machine's options behind, and read again. */
const through = ({
  scheme,
  name,
  options,
}: ReturnType<typeof uriOfWorkload>): ReturnType<typeof parseTargetUri> =>
  parseTargetUri(
    formatTargetUri({
      scheme,
      name,
      options: new Map([...options, ['memory', '1GiB'], ['vcpus', '1']]),
    }),
  )

describe('through a URI', () => {
  it('every workload is the same', () => {
    fc.assert(
      fc.property(anyWorkload, guest => {
        const { scheme, name, options } = through(uriOfWorkload(guest))
        expect(scheme).toBe('guest')
        expect(workloadOfUri(name as WorkloadKind, Object.fromEntries(options))).toEqual(guest)
      }),
      { numRuns: 1000 },
    )
  })

  it('every kernel is the same, with its initrd and its command line', () => {
    const image = fc.record({
      kernel: text.filter(name => name !== ''),
      initrd: fc.option(
        text.filter(name => name !== ''),
        { nil: undefined },
      ),
      cmdline: fc.option(text, { nil: undefined }),
    })
    fc.assert(
      fc.property(image, kernel => {
        const { scheme, name, options } = through(uriOfKernel(kernel))
        expect(scheme).toBe('kernel')
        expect(kernelOfUri(name, Object.fromEntries(options))).toEqual(kernel)
      }),
      { numRuns: 1000 },
    )
  })
})

describe('a machine', () => {
  const pageCount = fc.integer({ min: 1, max: 2 ** 24 })
  const blocks = fc
    .uniqueArray(
      fc.record({ name: text.filter(name => name !== ''), gap: pageCount, pages: pageCount }),
      {
        minLength: 1,
        maxLength: 5,
        selector: ({ name }) => name,
      },
    )
    .map(list => {
      let next = 0
      return list.map(({ name, gap, pages }) => {
        const guestAddress = next + gap * PAGE
        next = guestAddress + pages * PAGE
        return { name, guestAddress, bytes: pages * PAGE }
      })
    })

  it('of any blocks is the same through a URI', () => {
    fc.assert(
      fc.property(blocks, memory => {
        const option = uriOfMemory(memory)
        const uri = { scheme: 'guest', name: 'idle', options: new Map([['memory', option]]) }
        const read = parseTargetUri(formatTargetUri(uri)).options.get('memory') ?? ''
        expect(parseMemory(memoryOfUri(read))).toEqual(memory)
      }),
      { numRuns: 1000 },
    )
  })

  it.each(['64MiB', '4GiB'])('of %s says no more than that', size => {
    expect(uriOfMemory(parseMemory(size))).toBe(size)
    expect(
      uriOfMemory(memoryForKernel(size, 'arm64'), bytes => memoryForKernel(bytes, 'arm64')),
    ).toBe(size)
  })

  it('of no block is 0 bytes, and no machine has so little', () => {
    expect(uriOfMemory([])).toBe('0B')
    expect(() => parseMemory(memoryOfUri('0B'))).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT', message: 'memory: 0 bytes' }),
    )
  })

  it.each(['ram@', '@0+1MiB', 'ram@0B', 'ram@0B+1MiB:', 'ram@0B+1MiB+1MiB'])(
    'of %s is refused',
    option => {
      expect(() => memoryOfUri(option)).toThrow(
        expect.objectContaining({
          code: 'ERR_ARGUMENT',
          hint: expect.stringContaining('low@0B+2GiB'),
        }),
      )
    },
  )

  it('of any choices is the same through a URI', () => {
    const choices = fc.record({
      manualProtect: fc.constantFrom(undefined, 'none', 'enable', 'initially-set'),
      unknownMmio: fc.constantFrom(undefined, 'stop', 'ignore'),
      clearChunk: fc.option(fc.maxSafeNat(), { nil: undefined }),
    } as const)
    fc.assert(
      fc.property(choices, chosen => {
        const { clearChunk, manualProtect, unknownMmio: mmio = 'auto' } = chosen
        const chunk = clearChunk === undefined ? {} : { clearChunkBytes: clearChunk }
        const protect = manualProtect === undefined ? {} : { manualProtect }
        const asked = { ...protect, unknownMmio: mmio, ...chunk } as const
        expect(creationOfUri(Object.fromEntries(uriOfCreation(asked)))).toEqual(chosen)
      }),
    )
  })
})

/** What `uri` opens says the same URI again. */
async function opensAgain(uri: string): Promise<VirtualMachine> {
  const target = (await openTarget(uri)) as VirtualMachine
  onTestFinished(() => target.close())
  expect(target.uri).toBe(uri)
  return target
}

describeKvm('the target of a measurement', () => {
  it.each<[string, Workload]>([
    ['granted', workload.random({ pages: 300, granted: true, seed: 7, placement: 'spread' })],
    ['with a rate by its clock', workload.stride({ pages: 300, rate: '1MB/s', pacing: 'clock' })],
    ['with a rate', workload.hotCold({ pages: 300, rate: '0.7MB/s', sharing: 'shared' })],
  ])('opens a guest %s again', async (_, guest) => {
    const vm = await running(guest, { vcpus: 2 })
    const { target } = await vm.measureDirtyRate({ window: 20 })
    expect((await opensAgain(target)).workload?.workload).toEqual(guest)
  })

  it('opens a machine of blocks of its own again, with what was chosen at creation', async () => {
    const memory = [
      { name: 'low', guestAddress: 0, bytes: 2048 * PAGE },
      { name: 'a@b+c:d', guestAddress: 2 ** 32, bytes: 1024 * PAGE },
    ]
    const vm = await running(workload.stride({ pages: 64 }), {
      memory,
      manualProtect: 'none',
      unknownMmio: 'ignore',
      clearChunk: 256 * PAGE,
    })
    await vm.addBlock({ name: 'new', guestAddress: 2 ** 33, bytes: 512 * PAGE })
    const { target } = await vm.measureDirtyRate({ window: 20 })
    const again = await opensAgain(target)
    const plain = ({ blocks }: VirtualMachine): object[] =>
      blocks.map(({ name, guestAddress, bytes }) => ({ name, guestAddress, bytes }))
    expect(plain(again)).toEqual(plain(vm))
    expect(again.manualProtect).toBe('none')
  })

  it('opens a kernel with its initrd and its command line again', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'dirtyrate, a=b '))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const kernel = join(folder, 'gast,ü.elf')
    writeFileSync(kernel, buildGuest(workload.stride({ pages: 16 }), { memory: MEMORY }))
    const vm = await created()
    await vm.load({ kernel })
    await vm.start()
    const { target } = await vm.measureDirtyRate({ window: 20 })
    expect(target).toContain('dirtyrate,, a=b ')
    if (process.arch === 'x64') await opensAgain(target)
  })
})
