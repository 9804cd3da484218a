import { expect, it } from 'vitest'
import { type CountedCurve, type DirtyRateCurve, workload } from '../../ts/index.js'
import { describeKvm } from '../fixtures/kvm.js'
import { created, PAGE, running } from '../fixtures/machine.js'
import { describeMode, exactModesHere, logFor } from '../fixtures/modes.js'
import {
  besidesLength,
  expectCounted,
  expectTruth,
  grantedWithin,
  windowsOf,
} from '../fixtures/truth.js'

/** What holds at every point of an exact curve, whatever the guest does. */
function expectExact({ points, pageSize, complete, warnings }: CountedCurve): void {
  expect({ complete, warnings: besidesLength(warnings) }).toEqual({ complete: true, warnings: [] })
  for (const [at, point] of points.entries()) {
    const { pages, dirtyBytes, windowNs, requestedMs, bytesPerSecond, interval, truth } = point
    expect(pages).toBeGreaterThanOrEqual(truth?.low ?? Number.NaN)
    expect(pages).toBeLessThanOrEqual(truth?.high ?? Number.NaN)
    expect(dirtyBytes).toBe(pages * pageSize)
    expect(windowNs).toBeGreaterThanOrEqual(requestedMs * 1e6)
    expect(bytesPerSecond).toBeCloseTo((dirtyBytes * 1e9) / windowNs, 0)
    expect(interval).toEqual({ low: bytesPerSecond, high: bytesPerSecond, confidence: 1 })
    expect(point).not.toHaveProperty('increment')
    const before = points[at - 1]
    // One opening: a longer window has every page of a shorter one.
    expect(pages).toBeGreaterThanOrEqual(before?.pages ?? 0)
    expect(windowNs).toBeGreaterThan(before?.windowNs ?? 0)
  }
}

for (const mode of exactModesHere) {
  const log = logFor(mode)
  describeKvm(`a curve by ${mode}`, () => {
    it.each([
      ['stride', () => workload.stride({ pages: 3000 }), 1],
      ['stride', () => workload.stride({ pages: 3000, rate: '40MiB/s' }), 2],
      ['random', () => workload.random({ pages: 3000, seed: 5 }), 1],
      ['random', () => workload.random({ pages: 3000, seed: 6, sharing: 'shared' }), 4],
      ['hot-cold', () => workload.hotCold({ pages: 3000 }), 2],
      ['silent', () => workload.silent({ pages: 3000 }), 1],
      ['idle', () => workload.idle(), 1],
    ])("is the guest's own count at every point: %s", async (_, guest, vcpus) => {
      const vm = await running(guest(), { vcpus, ...log })
      const curve = await vm.measureDirtyCurve({ windows: [5, 10, 20, 40, 80, 160] })
      expect(curve).toMatchObject({ schemaVersion: 1, target: vm.uri, mode, pageSize: PAGE })
      expect(windowsOf(curve)).toEqual([5, 10, 20, 40, 80, 160])
      expectExact(curve)
      expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
    })

    it('is exactly what was granted', async () => {
      const vm = await running(workload.stride({ pages: 8000, granted: true }), log)
      await grantedWithin(vm, { writes: 500, pages: 500 }, async ms => {
        const { points } = await vm.measureDirtyCurve({ windows: [ms / 16, ms] })
        for (const point of points) expectTruth(point)
        const last = points.at(-1)
        if (last?.truth?.low === last?.truth?.pages) await expectCounted(vm, last ?? {})
        return last ?? {}
      })
    })

    it('levels off at the working set', async () => {
      const vm = await running(workload.random({ pages: 200, seed: 3 }), log)
      let points: DirtyRateCurve['points'] = []
      // Until the guest's own count says that it has been everywhere.
      for (let window = 400; (points[1]?.truth?.low ?? 0) < 200; window *= 2) {
        points = (await vm.measureDirtyCurve({ windows: [2, window] })).points
      }
      expect(points[1]?.pages).toBeGreaterThanOrEqual(200)
      // Beyond the working set there are its mailbox and what the machine itself writes: a few
      // pages.
      expect(points[1]?.pages).toBeLessThanOrEqual(points[1]?.truth?.high ?? 0)
    })

    it('has each window once, in order, with units or without', async () => {
      const vm = await running(workload.stride({ pages: 500 }), log)
      const curve = await vm.measureDirtyCurve({ windows: ['30ms', 10, '0.02s', 10, '10ms'] })
      expect(windowsOf(curve)).toEqual([10, 20, 30])
    })

    it('ends with its signal, and leaves nothing on', async () => {
      const vm = await running(workload.stride({ pages: 500 }), log)
      const controller = new AbortController()
      const curve = vm.measureDirtyCurve({ windows: ['10ms', '1h'], signal: controller.signal })
      const reason = new Error('mine')
      setTimeout(() => controller.abort(reason), 40)
      await expect(curve).rejects.toBe(reason)
      expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
      expectExact(await vm.measureDirtyCurve({ windows: [10] }))
    })
  })
}

describeKvm('a curve is refused', () => {
  it.each([
    [[]],
    [[0]],
    [[10, -1]],
    [[Number.NaN]],
    [['1']],
    [['2h']],
    ['10ms'],
    [undefined],
    [null],
  ])('the windows %j', async windows => {
    const vm = await running(workload.idle())
    await expect(vm.measureDirtyCurve({ windows: windows as never })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining('windows'),
    })
  })

  it('what its mode has not, and a VM that does not run', async () => {
    const vm = await running(workload.idle())
    const windows = [10]
    await expect(vm.measureDirtyCurve({ windows, samplePages: 512 })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
    })
    await expect(vm.measureDirtyCurve({ windows, mode: 'dirty-ring' })).rejects.toMatchObject({
      code: 'ERR_MODE_UNAVAILABLE',
    })
    await vm.pause()
    await expect(vm.measureDirtyCurve({ windows })).rejects.toMatchObject({ code: 'ERR_PAUSED' })
    const fresh = await created()
    await expect(fresh.measureDirtyCurve({ windows })).rejects.toMatchObject({ code: 'ERR_STATE' })
  })
})

describeMode('page-sampling', 'a curve by page-sampling', () => {
  it('has increments and intervals at every point', async () => {
    const vm = await running(workload.random({ pages: 8000, rate: '40MiB/s', seed: 2 }))
    const windows = [20, 50, 100, 200]
    const curve = await vm.measureDirtyCurve({
      windows,
      mode: 'page-sampling',
      samplePages: 16_384,
    })
    expect(curve.mode).toBe('page-sampling')
    let sum = 0
    for (const [
      at,
      { pages, bytesPerSecond, interval, increment, windowNs },
    ] of curve.points.entries()) {
      expect(interval.confidence).toBe(0.95)
      expect(interval.low).toBeLessThanOrEqual(bytesPerSecond)
      expect(interval.high).toBeGreaterThanOrEqual(bytesPerSecond)
      expect(increment?.low).toBeLessThanOrEqual(increment?.pages ?? Number.NaN)
      expect(increment?.high).toBeGreaterThanOrEqual(increment?.pages ?? Number.NaN)
      expect(pages).toBeGreaterThanOrEqual(curve.points[at - 1]?.pages ?? 0)
      expect(windowNs).toBeGreaterThan(0)
      sum += increment?.pages ?? Number.NaN
    }
    // The increments are the curve's own differences, to the rounding of each to a page.
    expect(Math.abs(sum - (curve.points.at(-1)?.pages ?? 0))).toBeLessThanOrEqual(windows.length)
    expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
  })
})
