/**
 * Page sampling of a guest to whom something happens within the window; and the exact modes, which
 * say the same of it.
 */

import { expect, it } from 'vitest'
import { type VirtualMachine, workload } from '../../../ts/index.js'
import { describeKvm } from '../../fixtures/kvm.js'
import { listenToLooks } from '../../fixtures/looks.js'
import {
  changedPages,
  contents,
  MEMORY_BYTES,
  PAGE,
  running,
  windowOpened,
} from '../../fixtures/machine.js'
import { describeMode, exactModesHere, logFor } from '../../fixtures/modes.js'
import { besidesLength, expectCounted } from '../../fixtures/truth.js'

const sampling = { mode: 'page-sampling', samplePages: 16_384, sampling: { seed: 1 } } as const
const dimm = { name: 'dimm', guestAddress: '1GiB', bytes: 2048 * PAGE }
const memory = [{ name: 'ram', guestAddress: 0, bytes: MEMORY_BYTES }, dimm]

/** A guest that writes what it is granted, some to each of both blocks. */
async function standing(log = {}): Promise<VirtualMachine> {
  const guest = workload.stride({ pages: 2000, placement: 'spread', granted: true })
  const vm = await running(guest, { memory, vcpus: 2, ...log })
  await vm.workload?.settled()
  return vm
}

/** All of its pages but a few. */
const write = async (vm: VirtualMachine): Promise<void> => {
  vm.workload?.grant(950)
  await vm.workload?.settled()
}

/**
 * A measurement of a VM, with `act` called after its first look. A machine too slow to do it within
 * the window gets a longer one.
 */
async function measuredAround<T>(
  make: () => Promise<VirtualMachine>,
  act: (vm: VirtualMachine) => Promise<T>,
) {
  for (let window = 2000; ; window *= 2) {
    const vm = await make()
    let acted: Promise<T> | undefined
    let ended = Number.POSITIVE_INFINITY
    const looks = listenToLooks(() => {
      acted = act(vm).finally(() => {
        ended = performance.now()
      })
    })
    const asked = performance.now()
    // Over is over: `act` is not to find its VM closed.
    const measurement = await vm.measureDirtyRate({ ...sampling, window }).finally(() => acted)
    const result = await acted
    if (ended - asked < window) return { vm, looks, measurement, result: result as T }
    await vm.close()
  }
}

describeMode('page-sampling', 'a block of RAM', () => {
  it('that goes within the window counts by what was written before', async () => {
    const around = await measuredAround(standing, async vm => {
      // Nothing is written between the first look and this.
      const before = await contents(vm, 'dimm')
      await write(vm)
      const written = changedPages(before, await contents(vm, 'dimm'))
      await vm.removeBlock('dimm')
      return written
    })
    const { vm, looks, result: written } = around
    const { blocks = [], complete, warnings, window } = around.measurement
    const [ram, gone] = blocks
    expect(gone).toMatchObject({ name: 'dimm', removed: true })
    expect(ram).not.toHaveProperty('removed')
    // Each page that was chosen is looked at twice.
    const pages = looks.filter(({ block }) => block === 'dimm').map(({ page }) => page)
    const samples = pages.length / 2
    const hits = pages.slice(0, samples).filter(page => written.has(page)).length
    expect(hits).toBeGreaterThan(0)
    expect(gone?.sampling).toMatchObject({ samples, hits })
    expect(gone?.windowNs).toBeLessThan(ram?.windowNs ?? 0)
    expect(window.skewNs).toBeGreaterThan(0)
    expect({ complete, warnings: besidesLength(warnings) }).toEqual({
      complete: true,
      warnings: [{ code: 'BLOCK_REMOVED', message: expect.stringContaining("'dimm'") }],
    })
    // It is not there any more, and not in the next measurement.
    const next = await vm.measureDirtyRate({ ...sampling, window: 1 })
    expect(next.blocks?.map(({ name }) => name)).toEqual(['ram'])
    expect(besidesLength(next.warnings)).toEqual([])
  })

  it('that comes within the window is sampled from its first write', async () => {
    const without = async (): Promise<VirtualMachine> => {
      const vm = await standing()
      await vm.removeBlock('dimm')
      return vm
    }
    const {
      looks,
      measurement,
      result: written,
    } = await measuredAround(without, async vm => {
      await vm.addBlock(dimm)
      await write(vm)
      return changedPages(Buffer.alloc(dimm.bytes), await contents(vm, 'dimm'))
    })
    const { blocks = [], complete, warnings } = measurement
    const [ram, come] = blocks
    const pages = looks.filter(({ block }) => block === 'dimm').map(({ page }) => page)
    const hits = pages.filter(page => written.has(page)).length
    expect(hits).toBeGreaterThan(0)
    // 16,384 per GiB; all of it was zero when it came.
    const samples = (16_384 * dimm.bytes) / 2 ** 30
    expect(come).toMatchObject({ name: 'dimm', sampling: { samples, hits, zeroPages: samples } })
    expect(come).not.toHaveProperty('removed')
    // The block came later, so its window is shorter. But its second look comes after the other
    // block's, at most as much later as all looks together took.
    expect(come?.windowNs).toBeLessThan((ram?.windowNs ?? 0) + (measurement.cost?.hashNs ?? 0))
    expect({ complete, warnings: besidesLength(warnings) }).toEqual({
      complete: true,
      warnings: [],
    })
  })

  it.each(exactModesHere)('that goes is said to have gone by %s too', async mode => {
    const vm = await standing(logFor(mode))
    await vm.dirtyMemory.startTracking('migration')
    await vm.dirtyMemory.sync()
    // A machine too slow to do it within the window gets a longer one.
    for (let window = 250; ; window *= 2) {
      const began = performance.now()
      const measured = vm.measureDirtyRate({ mode, window })
      await windowOpened(vm)
      await write(vm)
      await vm.removeBlock('dimm')
      const inside = performance.now() - began < window
      const measurement = await measured
      if (inside) {
        const { blocks, complete, warnings } = measurement
        await expectCounted(vm, measurement)
        expect(blocks).toMatchObject([{ name: 'ram' }, { name: 'dimm', removed: true }])
        expect({ complete, warnings: besidesLength(warnings) }).toEqual({
          complete: true,
          warnings: [{ code: 'BLOCK_REMOVED', message: expect.stringContaining("'dimm'") }],
        })
        return
      }
      await vm.addBlock(dimm)
    }
  })
})

describeKvm('a guest that is sampled', () => {
  it('may not be paused within the window, even if it goes on', async () => {
    const measured = measuredAround(standing, async vm => {
      await vm.pause()
      await vm.resume()
    })
    await expect(measured).rejects.toMatchObject({ code: 'ERR_PAUSED' })
  })
})
