import { expect, it } from 'vitest'
import {
  capabilities,
  openTarget,
  type RingFigures,
  type VirtualMachineMeasurement,
  workload,
} from '../../../ts/index.js'
import { full } from '../../fixtures/kvm.js'
import { created, MEMORY, PAGE, running } from '../../fixtures/machine.js'
import { describeMode, logFor } from '../../fixtures/modes.js'
import { besidesLength, expectCounted, expectTruth, grantedWithin } from '../../fixtures/truth.js'

const ring = logFor('dirty-ring')

/** Every entry is accounted for: it is a distinct page of its vCPU, or a duplicate. */
function expectAccounted({ pages, vcpus, ring }: RingFigures): void {
  const sum = (of: (vcpu: (typeof vcpus)[number]) => number): number =>
    vcpus.reduce((total, one) => total + of(one), 0)
  for (const vcpu of vcpus) expect(vcpu.entries).toBe(vcpu.pages + vcpu.duplicates)
  expect(ring?.entries).toBe(sum(vcpu => vcpu.entries))
  expect(ring?.duplicates).toBe(sum(vcpu => vcpu.duplicates))
  // A page that several vCPUs wrote is in the count of each; the host's own writes are in no ring.
  expect(sum(vcpu => vcpu.pages)).toBeGreaterThanOrEqual(ring?.sharedPages ?? Number.NaN)
  expect(pages).toBeGreaterThanOrEqual(Math.max(0, ...vcpus.map(vcpu => vcpu.pages)))
}

describeMode('dirty-ring', 'a measurement by dirty ring', () => {
  it.each([
    [1, 'split'],
    [2, 'split'],
    [4, 'split'],
    [2, 'shared'],
    [4, 'shared'],
  ] as const)('is what the guest counted: %d vCPUs, %s pages', async (vcpus, sharing) => {
    const vm = await running(workload.stride({ pages: 4000, sharing }), { vcpus, ...ring })
    for (let round = 0; round < (full ? 200 : 8); round++) {
      const measurement = await vm.measureDirtyRate({ mode: 'dirty-ring', window: 30 })
      expectTruth(measurement)
      expectAccounted(measurement)
      expect(measurement).toMatchObject({
        mode: 'dirty-ring',
        complete: true,
        ring: { lost: 0 },
      })
      expect(besidesLength(measurement.warnings)).toEqual([])
      expect(measurement.vcpus.map(({ id }) => id)).toEqual([...Array(vcpus).keys()])
    }
    expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
  })

  it('knows which vCPU wrote how much, and what two of them did', async () => {
    const pages = 1000
    const separate = await running(workload.stride({ pages, granted: true }), { vcpus: 2, ...ring })
    const shared = await running(workload.stride({ pages, granted: true, sharing: 'shared' }), {
      vcpus: 2,
      ...ring,
    })
    for (const vm of [separate, shared]) {
      const measurement = await grantedWithin(vm, { writes: pages, pages }, window =>
        vm.measureDirtyRate({ mode: 'dirty-ring', window }),
      )
      await expectCounted(vm, measurement)
      expectAccounted(measurement)
      const { vcpus, ring: rings } = measurement
      if (vm === shared && capabilities().nestedPaging) {
        // Who writes a protected page first has the entry; for the other it is writable by then.
        expect(vcpus.reduce((sum, vcpu) => sum + vcpu.pages, 0)).toBeGreaterThanOrEqual(pages)
      } else {
        const each = vm === shared ? pages : pages / 2
        for (const vcpu of vcpus) expect(vcpu.pages).toBeGreaterThanOrEqual(each)
        if (vm === shared) expect(rings?.sharedPages).toBeGreaterThanOrEqual(pages)
        else expect(rings?.sharedPages).toBeLessThan(10)
      }
      await vm.close()
    }
  })

  it('has the shape that the JSON has', async () => {
    const vm = await running(workload.stride({ pages: 500, rate: '20MiB/s' }), {
      vcpus: 2,
      ...ring,
    })
    const measurement = await vm.measureDirtyRate({ window: '100ms' })
    const n = expect.any(Number)
    const vcpu = (id: number): object => ({
      id,
      pages: n,
      entries: n,
      duplicates: n,
      bytesPerSecond: n,
    })
    expect(JSON.parse(JSON.stringify(measurement))).toMatchObject({
      schemaVersion: 1,
      target: `guest:stride,pages=500,rate=20MiB/s,memory=${MEMORY},vcpus=2,log=ring,ring-entries=65536`,
      mode: 'dirty-ring',
      window: { requestedMs: 100, ns: n, skewNs: n },
      interval: {
        low: measurement.bytesPerSecond,
        high: measurement.bytesPerSecond,
        confidence: 1,
      },
      vcpus: [vcpu(0), vcpu(1)],
      ring: { entries: n, duplicates: n, sharedPages: n, dropped: n, lost: 0 },
      cost: { harvestNs: n },
      qapi: { 'vcpu-dirty-rate': [{ id: 0 }, { id: 1 }], mode: 'dirty-ring', 'sample-pages': 0 },
    })
  })

  it('that lost entries is a lower bound, and the next one is right', async () => {
    const vm = await running(workload.stride({ pages: 25_600 }), {
      memory: 2 ** 16 * PAGE,
      dirtyLog: { ringEntries: 4096 },
      reaper: 'hold',
    })
    const incomplete: number[] = []
    vm.on('incomplete', ({ id }) => incomplete.push(id))
    // Held back, the ring overruns: not in each window for sure, but in one of these. At the CPU's
    // own level a vCPU stands from the soft limit on, and nothing is lost.
    let overrun: VirtualMachineMeasurement | undefined
    for (let round = 0; round < 20 && overrun === undefined; round++) {
      const measurement = await vm.measureDirtyRate({ window: 300 })
      if (!measurement.complete) overrun = measurement
      else expectTruth(measurement)
    }
    if (capabilities().nestedPaging) {
      expect(overrun).toBeUndefined()
      return
    }
    expect(besidesLength(overrun?.warnings ?? [])).toEqual([
      { code: 'RING_OVERRUN', message: expect.stringMatching(/lower bound/) },
    ])
    expect(overrun?.interval).toEqual({ low: overrun?.bytesPerSecond, high: null, confidence: 1 })
    expect(overrun?.pages).toBeLessThanOrEqual(overrun?.truth?.high ?? Number.NaN)
    expect(incomplete).toHaveLength(1)
    const curve = await vm.measureDirtyCurve({ windows: [10, 100] })
    for (const { pages, truth } of curve.points)
      expect(pages).toBeLessThanOrEqual(truth?.high ?? Number.NaN)
    // A window too short to fill the ring.
    const next = await vm.measureDirtyRate({ window: 1 })
    if (next.complete) expectTruth(next)
  })

  it('is another exact source than the bitmap, and a VM has one', async () => {
    const vm = await running(workload.stride({ pages: 500 }), ring)
    expect(vm).toMatchObject({ dirtyLog: 'ring', ringEntries: 65_536 })
    await expect(vm.measureDirtyRate({ mode: 'dirty-bitmap' })).rejects.toMatchObject({
      code: 'ERR_MODE_UNAVAILABLE',
      message: expect.stringMatching(/dirty-ring and page-sampling/),
      hint: expect.stringContaining("dirtyLog: 'bitmap'"),
    })
    expect((await vm.describe()).modes).toMatchObject([
      { mode: 'dirty-ring', exact: true },
      { mode: 'page-sampling', exact: false },
    ])
    expect((await vm.measureDirtyRate({ window: 10, mode: 'auto' })).mode).toBe('dirty-ring')
  })

  it('ends early with a signal, and leaves nothing on', async () => {
    const vm = await running(workload.stride({ pages: 500 }), ring)
    for (let round = 0; round < 20; round++) {
      const controller = new AbortController()
      const reason = { round }
      const measurement = vm.measureDirtyRate({ window: '1h', signal: controller.signal })
      setTimeout(() => controller.abort(reason), round)
      await expect(measurement).rejects.toBe(reason)
      expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
    }
    expectTruth(await vm.measureDirtyRate({ window: 10 }))
  })
})

describeMode('dirty-ring', 'a target with a dirty ring', () => {
  const guest = `guest:stride,pages=500,memory=${MEMORY}`
  it.each([
    [`${guest},log=ring`, undefined, 'dirty-ring'],
    [`${guest},ring-entries=4096`, undefined, 'dirty-ring'],
    [guest, 'dirty-ring', 'dirty-ring'],
    [`${guest},log=ring`, 'auto', 'dirty-ring'],
    [guest, 'auto', 'dirty-bitmap'],
    [`${guest},log=bitmap`, undefined, 'dirty-bitmap'],
  ] as const)('is what %s is, measured by %s', async (uri, mode, is) => {
    const target = await openTarget(uri, mode === undefined ? {} : { mode })
    try {
      expect((await target.measureDirtyRate({ window: 10 })).mode).toBe(is)
    } finally {
      await target.close()
    }
  })

  it('has a URI that opens the same', async () => {
    const vm = await created({ dirtyLog: { ringEntries: 4096 } })
    await vm.load(workload.stride({ pages: 100 }))
    expect(vm.uri).toBe(
      `guest:stride,pages=100,memory=${MEMORY},vcpus=1,log=ring,ring-entries=4096`,
    )
    const target = await openTarget(vm.uri)
    expect(target.uri).toBe(vm.uri)
    await target.close()
  })
})
