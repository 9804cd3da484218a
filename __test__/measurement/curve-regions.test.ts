/**
 * The curve by region, and in granules, of our own VMs. The guest is idle, and this process writes
 * pages that the test knows, in two blocks with a hole between them whose sizes are no powers of
 * two.
 */

import { expect, it } from 'vitest'
import {
  type CurveOptions,
  type DirtyRateCurve,
  type VirtualMachine,
  workload,
} from '../../ts/index.js'
import { describeKvm } from '../fixtures/kvm.js'
import { PAGE, running } from '../fixtures/machine.js'
import { exactModesHere, logFor } from '../fixtures/modes.js'

const GIB = 2 ** 30
const GIB_PAGES = GIB / PAGE
/** So much that RAM goes on behind the hole, with an end that is no multiple of 2 MiB. */
const MEMORY_BYTES = 5 * GIB + 1000 * PAGE

/** Writes one byte of each page, numbered from the start of `block`. */
async function write(vm: VirtualMachine, block: string, pages: readonly number[]): Promise<void> {
  const guestAddress = vm.blocks.find(({ name }) => name === block)?.guestAddress ?? 0
  for (const page of pages) {
    const at = guestAddress + page * PAGE + 17
    const byte = new Uint8Array(1)
    await vm.readMemory(at, byte)
    await vm.writeMemory(
      at,
      byte.map(value => value + 1),
    )
  }
}

/** Measures while `meanwhile` runs, which begins when the windows are open. */
async function curveDuring(
  vm: VirtualMachine,
  options: CurveOptions,
  meanwhile: () => Promise<void>,
): Promise<DirtyRateCurve> {
  const curve = vm.measureDirtyCurve(options)
  while (vm.dirtyMemory.loggingBlocks().length < vm.blocks.length)
    await new Promise(resolve => setTimeout(resolve, 1))
  await new Promise(resolve => setTimeout(resolve, 50))
  await meanwhile()
  return curve
}

/** Checks what holds of the regions of every curve of `vm`. */
function expectRegions(vm: VirtualMachine, { regions = [], points, memory }: DirtyRateCurve): void {
  const expected = vm.blocks.flatMap(({ name, guestAddress, bytes }) =>
    Array.from({ length: Math.ceil(bytes / GIB) }, (_, number) => ({
      block: name,
      offset: number * GIB,
      guestAddress: guestAddress + number * GIB,
      bytes: Math.min(GIB, bytes - number * GIB),
    })),
  )
  expect(regions.map(({ pages: _, low: __, high: ___, ...place }) => place)).toEqual(expected)
  expect(memory?.bytes).toBe(MEMORY_BYTES)
  for (const region of regions) expect(region.pages).toHaveLength(points.length)
}

/** Dirty granules and extents of pages of one block, by their definition. */
function granulesOf(address: number, pages: readonly number[], bytes: number): [number, number] {
  const granules = new Set(pages.map(page => Math.floor((address + page * PAGE) / bytes)))
  return [granules.size, [...granules].filter(granule => !granules.has(granule - 1)).length]
}

for (const mode of exactModesHere) {
  describeKvm(`a curve by region, ${mode}`, () => {
    it('has the pages that were written where they were written, and adds up', async () => {
      const vm = await running(workload.idle(), { memory: MEMORY_BYTES, ...logFor(mode) })
      const [low, high] = vm.blocks
      expect(vm.blocks).toHaveLength(2)
      const sizes = [low, high].map(block => (block?.bytes ?? 0) / PAGE)
      const written = [
        [5000, GIB_PAGES - 1, GIB_PAGES, GIB_PAGES + 700, (sizes[0] ?? 0) - 1],
        [0, 1, 2, 15, 16, 511, 512, 2 * GIB_PAGES + 5, 3 * GIB_PAGES + 1, (sizes[1] ?? 0) - 1],
      ]
      // 12 KiB is no power of two, and 3 GiB is no divisor of the block's address.
      const granularities = [PAGE, 3 * PAGE, '64KiB', '2MiB', '3GiB']
      const curve = await curveDuring(
        vm,
        { windows: ['1ms', '1s', '2s'], granularities },
        async () => {
          // The first time may be before the window opens. A page that is written twice counts
          // once.
          for (let time = 0; time < 2; time++) {
            for (const [at, block] of vm.blocks.entries())
              await write(vm, block.name, written[at] ?? [])
            await new Promise(resolve => setTimeout(resolve, 200))
          }
        },
      )
      expectRegions(vm, curve)
      const { regions = [], points } = curve
      for (const [at, { pages }] of points.entries())
        expect(regions.reduce((sum, region) => sum + (region.pages[at] ?? 0), 0)).toBe(pages)
      const last = points.length - 1
      const expected = vm.blocks.flatMap(({ bytes }, block) =>
        Array.from({ length: Math.ceil(bytes / GIB) }, (_, number) => {
          const isIn = (page: number): boolean => Math.floor(page / GIB_PAGES) === number
          return written[block]?.filter(isIn).length ?? 0
        }),
      )
      // The guest itself writes a few pages, all of them in its first region.
      const own = (regions[0]?.pages[last] ?? 0) - (expected[0] ?? 0)
      expect(own).toBeGreaterThanOrEqual(0)
      expect(own).toBeLessThanOrEqual(8)
      expect(regions.slice(1).map(region => region.pages[last])).toEqual(expected.slice(1))
      expect(regions.map(region => region.low)).toEqual(regions.map(() => undefined))

      expect(curve.granularities?.map(({ granuleBytes }) => granuleBytes)).toEqual([
        PAGE,
        3 * PAGE,
        65_536,
        2 ** 21,
        3 * GIB,
      ])
      for (const { granuleBytes, dirtyGranules, extents } of curve.granularities ?? []) {
        const [dirty, runs] = vm.blocks
          .map(({ guestAddress }, at) => granulesOf(guestAddress, written[at] ?? [], granuleBytes))
          .reduce(([a, b], [c, d]) => [a + c, b + d], [0, 0])
        expect(dirtyGranules).toHaveLength(points.length)
        // Each page of the guest's own may be a granule and an extent more, or join two extents.
        expect(dirtyGranules[last]).toBeGreaterThanOrEqual(dirty)
        expect(dirtyGranules[last]).toBeLessThanOrEqual(dirty + own)
        expect(Math.abs((extents[last] ?? 0) - runs)).toBeLessThanOrEqual(own)
      }
      expect(curve.granularities?.[0]?.dirtyGranules).toEqual(points.map(({ pages }) => pages))
    })

    it('gives curves one after the other that have every page', async () => {
      const vm = await running(workload.idle(), { memory: MEMORY_BYTES, ...logFor(mode) })
      const [, high] = vm.blocks
      const writes: { began: number; ended: number }[] = []
      const options: CurveOptions = {
        windows: ['20ms', '40ms', '80ms'],
        repeat: 10,
        granularities: ['2MiB'],
      }
      const curve = await curveDuring(vm, options, async () => {
        for (let number = 0; number < 100; number++) {
          const began = Date.now()
          await write(vm, high?.name ?? '', [number * 7001])
          writes.push({ began, ended: Date.now() })
          await new Promise(resolve => setTimeout(resolve, 5))
        }
      })
      expectRegions(vm, curve)
      const { repeated, points } = curve
      const rounds = repeated?.rounds ?? []
      expect(rounds).toHaveLength(10)
      expect(repeated?.spread).toHaveLength(points.length)
      // A page that was written between the openings of the second and of the last round is in one
      // round, whose longest window has it. No page was written twice, so none is in two rounds.
      const [first = 0, last = 0] = [rounds[1], rounds.at(-1)].map(of =>
        Date.parse(of?.startedAt ?? ''),
      )
      const surely = writes.filter(({ began, ended }) => began > first && ended < last).length
      const ofBlock = (curve.regions ?? []).filter(({ block }) => block === high?.name)
      const mean = ofBlock.reduce((sum, region) => sum + (region.pages.at(-1) ?? 0), 0)
      expect(surely).toBeGreaterThan(0)
      expect(Math.round(rounds.length * mean)).toBeGreaterThanOrEqual(surely)
      expect(Math.round(rounds.length * mean)).toBeLessThanOrEqual(writes.length)
      const starts = rounds.map(({ startedAt }) => Date.parse(startedAt))
      expect([...starts].sort((a, b) => a - b)).toEqual(starts)
      expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
    })
  })
}

describeKvm('a curve by region, page-sampling', () => {
  it('has an interval for each region, in which its pages are', async () => {
    const vm = await running(workload.idle(), { memory: MEMORY_BYTES })
    const [, high] = vm.blocks
    const dirty = 40_000
    const contents = new Uint8Array(dirty * PAGE).fill(7)
    const curve = vm.measureDirtyCurve({
      mode: 'page-sampling',
      windows: ['1ms', '3s'],
      samplePages: 16_384,
      confidence: 1 - 1e-6,
    })
    await new Promise(resolve => setTimeout(resolve, 1000))
    await vm.writeMemory((high?.guestAddress ?? 0) + GIB + 9000 * PAGE, contents)
    const measured = await curve
    expectRegions(vm, measured)
    const of = measured.regions?.find(({ block, offset }) => block === high?.name && offset === GIB)
    expect(of?.low?.at(-1)).toBeGreaterThan(dirty / 2)
    expect(of?.low?.at(-1)).toBeLessThanOrEqual(dirty)
    expect(of?.high?.at(-1)).toBeGreaterThanOrEqual(dirty)
    for (const region of measured.regions ?? []) {
      for (const [at, pages] of region.pages.entries()) {
        expect(region.low?.[at]).toBeLessThanOrEqual(pages)
        expect(region.high?.[at]).toBeGreaterThanOrEqual(pages)
      }
      if (region !== of && region.offset + (region.guestAddress ?? 0) > 0)
        expect(region.pages.at(-1)).toBe(0)
    }
    const { zeroPages } = measured.memory ?? {}
    expect(zeroPages?.high).toBeGreaterThan((MEMORY_BYTES / PAGE) * 0.9)
    expect(zeroPages?.low).toBeLessThanOrEqual(zeroPages?.value ?? 0)
    expect(measured).not.toHaveProperty('granularities')
  })

  it('is repeated with other samples each time, and says whether they fit each other', async () => {
    const vm = await running(workload.stride({ pages: 4000 }))
    const options: CurveOptions = { mode: 'page-sampling', windows: ['20ms', '60ms'], for: '300ms' }
    const { repeated, points, complete } = await vm.measureDirtyCurve({
      ...options,
      sampling: { seed: 2 ** 32 - 2 },
    })
    const rounds = repeated?.rounds.length ?? 0
    expect(rounds).toBeGreaterThanOrEqual(2)
    expect(complete).toBe(true)
    expect(repeated?.tests.map(({ name }) => name)).toContain('dispersion')
    for (const [at, { bytesPerSecond, interval }] of points.entries()) {
      const rates = repeated?.rounds.flatMap(round => round.bytesPerSecond[at] ?? []) ?? []
      expect(bytesPerSecond).toBeCloseTo(rates.reduce((a, b) => a + b, 0) / rates.length, 0)
      expect(interval.low).toBeLessThanOrEqual(bytesPerSecond)
      expect(interval.high ?? 0).toBeGreaterThanOrEqual(bytesPerSecond)
    }
  })
})

describeKvm('a curve is refused', () => {
  it.each([
    [{ granularities: [] }, 'granularities'],
    [{ granularities: ['3KiB'] }, 'multiple of the page size'],
    [{ granularities: [0] }, 'granularities'],
    [{ granularities: ['64K'] }, 'granularities'],
    [{ granularities: '64KiB' }, 'granularities'],
    [{ granularities: ['64KiB'], mode: 'page-sampling' }, 'single pages'],
    [{ repeat: 0 }, 'repeat'],
    [{ repeat: 10_001 }, 'repeat'],
    [{ repeat: 2, for: '1s' }, 'either'],
    [{ for: '5ms' }, 'for'],
    [{ for: '8d' }, 'for'],
  ])('with %j', async (options, said) => {
    const vm = await running(workload.idle())
    const asked = { windows: [10], ...options } as CurveOptions
    await expect(vm.measureDirtyCurve(asked)).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining(said),
    })
  })

  it('when its signal is aborted between the rounds, and leaves nothing on', async () => {
    const vm = await running(workload.stride({ pages: 500 }))
    const controller = new AbortController()
    const signal = controller.signal
    const curve = vm.measureDirtyCurve({ windows: [10, 20], for: '1h', signal })
    const reason = new Error('mine')
    setTimeout(() => controller.abort(reason), 70)
    await expect(curve).rejects.toBe(reason)
    expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
  })
})
