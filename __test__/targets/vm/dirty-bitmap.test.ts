import { expect, it } from 'vitest'
import { type VirtualMachine, workload } from '../../../ts/index.js'
import { describeKvm, full } from '../../fixtures/kvm.js'
import { created, MEMORY, MEMORY_BYTES, PAGE, running, sleep } from '../../fixtures/machine.js'
import { besidesLength, expectTruth } from '../../fixtures/truth.js'

/** Keeps the event loop from doing anything else. */
function block(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end; );
}

async function expectUsable(vm: VirtualMachine): Promise<void> {
  expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
  // On a busy machine a guest may not get to write in so short a window: then 0 is right, and says
  // little.
  for (let low = 0; low === 0; ) {
    const measurement = await vm.measureDirtyRate({ window: 20 })
    expectTruth(measurement)
    low = measurement.truth?.low ?? Number.NaN
  }
}

describeKvm('a measurement', () => {
  it.each([1, 2, 4])('is what the guest counted, %d vCPUs', async vcpus => {
    const vm = await running(workload.stride({ pages: 4000 }), { vcpus })
    for (let round = 0; round < (full ? 200 : 10); round++)
      expectTruth(await vm.measureDirtyRate({ window: 30 }))
  })

  it('has the shape that the JSON has', async () => {
    const vm = await running(workload.stride({ pages: 500, rate: '20MiB/s' }))
    const measurement = await vm.measureDirtyRate({ window: '100ms', mode: 'dirty-bitmap' })
    const ns = expect.any(Number)
    expect(JSON.parse(JSON.stringify(measurement))).toEqual({
      schemaVersion: 1,
      target: `guest:stride,pages=500,rate=20MiB/s,memory=${MEMORY},vcpus=1`,
      mode: 'dirty-bitmap',
      startedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      window: { requestedMs: 100, ns, skewNs: ns },
      bytesPerSecond: measurement.bytesPerSecond,
      interval: {
        low: measurement.bytesPerSecond,
        high: measurement.bytesPerSecond,
        confidence: 1,
      },
      pages: measurement.pages,
      pageSize: PAGE,
      blocks: [
        {
          name: 'ram',
          guestAddress: 0,
          bytes: MEMORY_BYTES,
          pages: measurement.pages,
          windowNs: ns,
        },
      ],
      cost: {
        startNs: ns,
        syncNs: ns,
        clearNs: ns,
        reapNs: ns,
        ioctlNs: ns,
        longestLockNs: ns,
      },
      complete: true,
      warnings: expect.any(Array),
      qapi: expect.objectContaining({
        status: 'measured',
        mode: 'dirty-bitmap',
        'sample-pages': 0,
      }),
      truth: { pages: ns, low: ns, high: ns },
    })
    expect(besidesLength(measurement.warnings)).toEqual([])
    const { bytes, pages, windowNs } = measurement.blocks?.[0] ?? {
      bytes: 0,
      pages: 0,
      windowNs: 1,
    }
    expect(bytes).toBe(MEMORY_BYTES)
    expect(measurement.bytesPerSecond).toBeCloseTo((pages * PAGE * 1e9) / windowNs, 0)
  })

  it('has a real window: as asked, and later only by what the native thread was late', async () => {
    const vm = await running(workload.stride({ pages: 500 }))
    const { dirtyMemory } = vm
    await dirtyMemory.startTracking('dirty-rate')
    await dirtyMemory.discardInitialLog()
    await dirtyMemory.clear('dirty-rate')
    const [report] = await dirtyMemory.syncAt('dirty-rate', [200])
    const { lateNs = 0, sync, reap } = report ?? {}
    const over = (reap?.windowNs ?? 0) - 200e6
    expect(over).toBeGreaterThanOrEqual(0)
    expect(over).toBeLessThanOrEqual(lateNs + (sync?.ns ?? 0))
  })

  it('does not mind an event loop that is blocked for 2 s', async () => {
    const vm = await running(workload.random({ pages: 8000, seed: 1 }))
    const { dirtyMemory } = vm
    await dirtyMemory.startTracking('dirty-rate')
    await dirtyMemory.discardInitialLog()
    await dirtyMemory.clear('dirty-rate')
    const deadline = dirtyMemory.syncAt('dirty-rate', [500])
    block(2000)
    const [report] = await deadline
    const { lateNs = 0, sync, reap } = report ?? {}
    const over = (reap?.windowNs ?? 0) - 500e6
    expect(over).toBeGreaterThanOrEqual(0)
    expect(over).toBeLessThanOrEqual(lateNs + (sync?.ns ?? 0))
    expect(reap?.pages).toBeGreaterThanOrEqual(reap?.truth?.low ?? Number.NaN)
    expect(reap?.pages).toBeLessThanOrEqual(reap?.truth?.high ?? Number.NaN)
    await dirtyMemory.stopTracking('dirty-rate')

    const measurement = vm.measureDirtyRate({ window: 500 })
    // Its first steps are calls of their own: let it get to its window before the loop goes away.
    while (!dirtyMemory.isTracking('dirty-rate')) await sleep(1)
    await sleep(50)
    block(2000)
    const result = await measurement
    expectTruth(result)
    // The loop came back long after the deadline: had it kept the time, this would be 2 s.
    expect(result.window.ns).toBeLessThan(2000e6)
  })

  it('runs beside others, each with its own window and its own right answer', async () => {
    const vm = await running(workload.stride({ pages: 6000 }), { vcpus: 2 })
    const windows = [30, 60, 90, 120]
    const results = await Promise.all(windows.map(window => vm.measureDirtyRate({ window })))
    for (const [at, result] of results.entries()) {
      expectTruth(result)
      expect(result.window.requestedMs).toBe(windows[at])
    }
    await expectUsable(vm)
  })

  it('owns its client, and says so', async () => {
    const vm = await running(workload.stride({ pages: 500 }))
    const { dirtyMemory } = vm
    const measurement = vm.measureDirtyRate({ window: 100 })
    const measuring = { code: 'ERR_MEASURING', hint: expect.stringContaining('migration') }
    await expect(dirtyMemory.startTracking('dirty-rate')).rejects.toMatchObject(measuring)
    await expect(dirtyMemory.stopTracking('dirty-rate')).rejects.toMatchObject(measuring)
    await expect(dirtyMemory.clear('dirty-rate')).rejects.toMatchObject(measuring)
    await expect(dirtyMemory.take('dirty-rate')).rejects.toMatchObject(measuring)
    expectTruth(await measurement)
    await dirtyMemory.startTracking('dirty-rate')
    // And the other way round: a user's five steps go on beside a measurement.
    await dirtyMemory.discardInitialLog()
    await dirtyMemory.clear('dirty-rate')
    expectTruth(await vm.measureDirtyRate({ window: 20 }))
    expect(dirtyMemory.isTracking('dirty-rate')).toBe(true)
    await dirtyMemory.stopTracking('dirty-rate')
    await expectUsable(vm)
  })

  it.each([0, -1, 0.5, Number.NaN, 3_600_001, 2 ** 60, '2h', '1', 'soon'])(
    'refuses the window %s',
    async window => {
      const vm = await running(workload.stride({ pages: 500 }))
      await expect(vm.measureDirtyRate({ window })).rejects.toMatchObject({
        code: 'ERR_ARGUMENT',
        message: expect.stringContaining('window'),
      })
      await expectUsable(vm)
    },
  )

  it('takes the shortest window', async () => {
    const vm = await running(workload.stride({ pages: 500 }))
    expectTruth(await vm.measureDirtyRate({ window: '1ms' }))
  })

  it.each([
    ['dirty-ring', 'ERR_MODE_UNAVAILABLE'],
    ['guess', 'ERR_ARGUMENT'],
  ])('refuses the mode %s', async (mode, code) => {
    const vm = await running(workload.stride({ pages: 500 }))
    await expect(vm.measureDirtyRate({ mode: mode as never })).rejects.toMatchObject({ code })
    await expectUsable(vm)
  })
})

describeKvm('a measurement of a VM that does not run', () => {
  it('is refused with what to do', async () => {
    const vm = await created()
    const notStarted = { code: 'ERR_STATE', hint: expect.stringContaining('start()') }
    await expect(vm.measureDirtyRate()).rejects.toMatchObject(notStarted)
    await vm.load(workload.stride({ pages: 500 }))
    await vm.start()
    await vm.pause()
    await expect(vm.measureDirtyRate()).rejects.toMatchObject({ code: 'ERR_PAUSED' })
    await vm.resume()
    await expectUsable(vm)
    await vm.shutdown()
    await expect(vm.measureDirtyRate()).rejects.toMatchObject({ code: 'ERR_STATE' })
    await vm.close()
    await expect(vm.measureDirtyRate()).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })

  it.each([
    ['pause', 'ERR_PAUSED', 'was paused within the window'],
    ['shutdown', 'ERR_STATE', 'was shut down within the window'],
    ['close', 'ERR_CLOSED', 'was closed within the window'],
  ] as const)('any more because of %s says what happened', async (call, code, message) => {
    const vm = await running(workload.stride({ pages: 500 }))
    const both = [vm.measureDirtyRate({ window: '1h' }), vm.measureDirtyRate({ window: '1h' })]
    const outcomes = Promise.allSettled(both)
    await sleep(20)
    await vm[call]()
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({
        status: 'rejected',
        reason: { code, message: expect.stringContaining(message) },
      })
    }
    if (call !== 'close') expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
    if (call === 'pause') {
      await vm.resume()
      await expectUsable(vm)
    }
  })
})

describeKvm('an aborted measurement', () => {
  it('rejects with the reason, at any instant, and leaves nothing behind', async () => {
    const vm = await running(workload.stride({ pages: 2000 }), { vcpus: 2 })
    let aborted = 0
    for (let round = 0; round < (full ? 1000 : 60); round++) {
      const controller = new AbortController()
      const reason = { round }
      const measurement = vm.measureDirtyRate({ window: 10, signal: controller.signal })
      const outcome = measurement.then(
        () => 'measured',
        (error: unknown) => error,
      )
      const delay = Math.random() * 15
      if (delay < 3)
        for (let hop = Math.floor(delay * 10); hop > 0; hop--) await new Promise(setImmediate)
      else await sleep(delay)
      controller.abort(reason)
      const result = await outcome
      if (result !== 'measured') {
        expect(result).toBe(reason)
        aborted++
      }
      expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
    }
    expect(aborted).toBeGreaterThan(0)
    await expectUsable(vm)
  })

  it('before it begins does nothing at all', async () => {
    const vm = await running(workload.stride({ pages: 500 }))
    const reason = new Error('mine')
    await expect(vm.measureDirtyRate({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const controller = new AbortController()
    const measurement = vm.measureDirtyRate({ signal: controller.signal })
    controller.abort(reason)
    await expect(measurement).rejects.toBe(reason)
    await expect(vm.measureDirtyRate({ signal: AbortSignal.timeout(20) })).rejects.toMatchObject({
      name: 'TimeoutError',
    })
    await expectUsable(vm)
  })

  it('takes nothing from those beside it', async () => {
    const vm = await running(workload.stride({ pages: 2000 }))
    const controllers = [new AbortController(), new AbortController(), new AbortController()]
    const lost = controllers.map(({ signal }) => vm.measureDirtyRate({ window: '1h', signal }))
    const kept = vm.measureDirtyRate({ window: 150 })
    const outcomes = Promise.allSettled(lost)
    for (const controller of controllers) {
      await sleep(20)
      controller.abort()
    }
    for (const outcome of await outcomes) expect(outcome.status).toBe('rejected')
    expectTruth(await kept)
    await expectUsable(vm)
  })

  it('and the listener on its signal are gone', async () => {
    const vm = await running(workload.stride({ pages: 500 }))
    const { signal } = new AbortController()
    let listeners = 0
    const add = signal.addEventListener.bind(signal)
    const remove = signal.removeEventListener.bind(signal)
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++
      add(...args)
    }
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--
      remove(...args)
    }
    await vm.measureDirtyRate({ window: 5, signal })
    expect(listeners).toBe(0)
  })
})
