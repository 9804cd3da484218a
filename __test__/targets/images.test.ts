/** The URI in a result opens the same target again. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { buildGuest, openTarget, type VirtualMachine, type Workload, workload } from '../../ts/index.js'
import { kernelOfUri, uriOfKernel, uriOfWorkload, workloadOfUri } from '../../ts/targets/images.js'
import { formatTargetUri, parseTargetUri } from '../../ts/targets/uri.js'
import { makeWorkload, type WorkloadKind, workloadKinds } from '../../ts/workload.js'
import { describeKvm } from '../fixtures/kvm.js'
import { created, MEMORY, running } from '../fixtures/machine.js'

const rate = fc.oneof(
  fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  fc.double({ min: 1e-9, max: 2 ** 53 - 1, noNaN: true }),
  fc.constantFrom('1bit/s', '0.3MB/s', '1.5GiB/s', '0.000001B/s'),
)
const pacing = fc.oneof(fc.constant({}), fc.record({ rate }), fc.record({ granted: fc.boolean() }))
const placing = fc.record(
  { sharing: fc.constantFrom('split', 'shared'), placement: fc.constantFrom('packed', 'spread') } as const,
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

const text = fc.oneof(fc.string(), fc.string({ unit: 'grapheme' }), fc.stringMatching(/^[ ,=:"'\\\n]*$/))

/** Written as a URI with the machine's options behind, and read again. */
const through = ({
  scheme,
  name,
  options,
}: ReturnType<typeof uriOfWorkload>): ReturnType<typeof parseTargetUri> =>
  parseTargetUri(
    formatTargetUri({ scheme, name, options: new Map([...options, ['memory', '1GiB'], ['vcpus', '1']]) }),
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
    ['with a rate', workload.hotCold({ pages: 300, rate: '0.7MB/s', sharing: 'shared' })],
  ])('opens a guest %s again', async (_, guest) => {
    const vm = await running(guest, { vcpus: 2 })
    const { target } = await vm.measureDirtyRate({ window: 20 })
    expect((await opensAgain(target)).workload?.workload).toEqual(guest)
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
