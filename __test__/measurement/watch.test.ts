import { expect, it } from 'vitest'
import { type VirtualMachine, type VirtualMachineMeasurement, workload } from '../../ts/index.js'
import { describeKvm } from '../fixtures/kvm.js'
import { changedPages, contents, created, dirtyPages, running, sleep } from '../fixtures/machine.js'
import { describeMode, exactModesHere, logFor } from '../fixtures/modes.js'
import { expectCounted, expectTruth, expectWritten } from '../fixtures/truth.js'

/** Nothing is left of what was measured, and the VM can be measured. */
async function expectClean(vm: VirtualMachine): Promise<void> {
  expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
  expectTruth(await vm.measureDirtyRate({ window: 10 }))
  expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
}

for (const mode of exactModesHere) {
  const log = logFor(mode)
  describeKvm(`watching by ${mode}`, () => {
    it('is one measurement after the other', async () => {
      const vm = await running(workload.stride({ pages: 3000 }), { vcpus: 2, ...log })
      const seen: VirtualMachineMeasurement[] = []
      for await (const measurement of vm.watchDirtyRate({ every: 20 })) {
        expect(measurement).toMatchObject({
          schemaVersion: 1,
          mode,
          target: vm.uri,
          complete: true,
        })
        expectTruth(measurement)
        expect(measurement.window.requestedMs % 20).toBe(0)
        seen.push(measurement)
        if (seen.length === 8) break
      }
      // The log went on once, so that no later round has a cost of that.
      expect(seen[0]?.cost?.startNs).toBeGreaterThan(0)
      for (const { cost } of seen.slice(1)) expect(cost?.startNs).toBeUndefined()
      await expectClean(vm)
    })

    it.each([1, 2])(
      'leaves no gap: what is written between two rounds is in the next, %d vCPUs',
      async vcpus => {
        const vm = await running(workload.stride({ pages: 6000, granted: true }), { vcpus, ...log })
        const { dirtyMemory } = vm
        await vm.workload?.settled()
        // An oracle that saw everything: a client that tracks from before the first round, and the
        // pages' contents.
        await dirtyMemory.startTracking('migration')
        await dirtyMemory.sync()
        await dirtyMemory.take('migration')
        const before = await contents(vm, 'ram')
        const rounds: number[] = []
        let granted = 0
        for await (const round of vm.watchDirtyRate({ every: 10 })) {
          if (granted > 0) {
            await expectCounted(vm, round)
            rounds.push(round.truth?.pages ?? Number.NaN)
          }
          if (rounds.length === 12) break
          // Nobody waits for a round now, and the guest stands still again before anybody does.
          granted += 100 + rounds.length
          vm.workload?.grant(100 + rounds.length)
          await vm.workload?.settled()
        }
        await dirtyMemory.sync()
        const written = changedPages(before, await contents(vm, 'ram'))
        await expectWritten(vm, await dirtyPages(vm, 'migration', 'ram'), written)
        // A stride over more pages than were granted writes each once; beyond those there are, in
        // each round, the pages of the counters.
        const others = written.size - granted * vcpus
        expect(rounds.map(pages => pages - others)).toEqual(
          rounds.map((_, at) => (100 + at) * vcpus),
        )
        await dirtyMemory.stopTracking('migration')
        await expectClean(vm)
      },
    )

    it('leaves no gap in time: its windows, and the syncs between them, are the time that passed', async () => {
      const vm = await running(workload.stride({ pages: 3000 }), log)
      const watch = vm.watchDirtyRate({ every: 15 })
      const begun = performance.now()
      /** When the first round was seen: the next one's window was open already. */
      let opened = begun
      const first = { ms: 0, syncMs: 0 }
      const sum = { ms: 0, syncMs: 0, requestedMs: 0 }
      for (let round = 0; round < 20; round++) {
        const asked = performance.now()
        const {
          blocks = [],
          cost,
          window,
        } = (await watch.next()).value as VirtualMachineMeasurement
        expect(blocks).toHaveLength(1)
        sum.ms += (blocks[0]?.windowNs ?? Number.NaN) / 1e6
        sum.requestedMs += window.requestedMs
        // A window closes, and the next one opens, within one sync: beside it there is nothing
        // between them, and they do not overlap.
        if (round > 0)
          expect(sum.ms + sum.syncMs - first.ms - first.syncMs).toBeGreaterThanOrEqual(
            asked - opened,
          )
        expect(sum.ms).toBeLessThanOrEqual(performance.now() - begun)
        // No window closes before its deadline, counted from the opening of the first one.
        expect(sum.ms + sum.syncMs).toBeGreaterThanOrEqual(sum.requestedMs)
        sum.syncMs += (cost?.syncNs ?? Number.NaN) / 1e6
        if (round === 0) {
          opened = performance.now()
          Object.assign(first, sum)
        }
        if (round % 3 === 0) await sleep(round * 4)
      }
      await watch.return?.()
    })

    it('gives a slow consumer one longer window, not a queue', async () => {
      const vm = await running(workload.stride({ pages: 3000, rate: '20MiB/s' }), log)
      const windows: number[] = []
      for await (const measurement of vm.watchDirtyRate({ every: 10 })) {
        expectTruth(measurement)
        windows.push(measurement.window.requestedMs)
        if (windows.length === 4) break
        await sleep(95)
      }
      // 95 ms later the multiples that have passed are gone: one window covers them.
      for (const ms of windows.slice(1)) {
        expect(ms).toBeGreaterThanOrEqual(90)
        expect(ms % 10).toBe(0)
      }
      await expectClean(vm)
    })

    it('begins nothing before it is asked', async () => {
      const vm = await running(workload.idle(), log)
      const watch = vm.watchDirtyRate({ every: 10 })
      await sleep(20)
      expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
      expect(await watch.return?.()).toEqual({ done: true, value: undefined })
      expect(await watch.next()).toEqual({ done: true, value: undefined })
    })

    it.each(['break', 'throw', 'abort inside', 'abort between', 'return inside'])(
      'cleans up: %s',
      async way => {
        const vm = await running(workload.stride({ pages: 500 }), log)
        const controller = new AbortController()
        const reason = new Error('mine')
        const watch = vm.watchDirtyRate({ every: 15, signal: controller.signal })
        const loop = async (): Promise<string> => {
          let seen = 0
          for await (const measurement of watch) {
            expectTruth(measurement)
            if (++seen < 2) continue
            if (way === 'break') break
            if (way === 'throw') throw reason
            if (way === 'abort inside') setTimeout(() => controller.abort(reason), 5)
            if (way === 'return inside') setTimeout(() => void watch.return?.(), 5)
            if (way === 'abort between') {
              controller.abort(reason)
              // At once, and not when the loop asks again.
              while (vm.dirtyMemory.loggingBlocks().length > 0) await sleep(1)
            }
          }
          return 'left'
        }
        if (way === 'break' || way === 'return inside') expect(await loop()).toBe('left')
        else await expect(loop()).rejects.toBe(reason)
        await expectClean(vm)
        // Told once.
        expect(await watch.next()).toEqual({ done: true, value: undefined })
      },
    )

    it('calls of next() are one after the other', async () => {
      const vm = await running(workload.stride({ pages: 500 }), log)
      const watch = vm.watchDirtyRate({ every: 10 })
      const begun: number[] = []
      const ended: number[] = []
      vm.on('start', ({ id }) => begun.push(id))
      vm.on('done', ({ id }) => {
        // None has begun before the one before it has ended.
        expect(begun).toHaveLength(ended.push(id))
      })
      const rounds = await Promise.all([watch.next(), watch.next(), watch.next()])
      expect(rounds.map(({ done }) => done)).toEqual([false, false, false])
      expect(ended).toEqual(begun)
      expect(ended).toHaveLength(3)
      await watch.return?.()
      await expectClean(vm)
    })

    it('calls of next() are one after the other, so that one abort is one rejection', async () => {
      const vm = await running(workload.stride({ pages: 500 }), log)
      const controller = new AbortController()
      const reason = new Error('mine')
      const watch = vm.watchDirtyRate({ every: '1h', signal: controller.signal })
      vm.on('start', () => controller.abort(reason))
      const over = { status: 'fulfilled', value: { done: true, value: undefined } }
      expect(await Promise.allSettled([watch.next(), watch.next(), watch.next()])).toEqual([
        { status: 'rejected', reason },
        over,
        over,
      ])
    })

    it('ends within its round when it is left', async () => {
      const vm = await running(workload.stride({ pages: 500 }), log)
      const watch = vm.watchDirtyRate({ every: '1h' })
      const round = watch.next()
      while (vm.dirtyMemory.loggingBlocks().length === 0) await sleep(1)
      await watch.return?.()
      expect(await round).toEqual({ done: true, value: undefined })
      await expectClean(vm)
    })
  })
}

describeKvm('watching', () => {
  it.each([0, -1, Number.NaN, '1', '2h'])('is refused every %s, at once', async every => {
    const vm = await created()
    const refused = expect.objectContaining({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining('every'),
    })
    expect(() => vm.watchDirtyRate({ every })).toThrow(refused)
  })

  it('is refused on a VM that does not run, and with a signal that is aborted', async () => {
    const vm = await created()
    await expect(vm.watchDirtyRate().next()).rejects.toMatchObject({ code: 'ERR_STATE' })
    const reason = new Error('mine')
    await expect(vm.watchDirtyRate({ signal: AbortSignal.abort(reason) }).next()).rejects.toBe(
      reason,
    )
  })
})

describeMode('page-sampling', 'watching by page-sampling', () => {
  it('is consecutive windows, and turns no log on', async () => {
    const vm = await running(workload.stride({ pages: 8000, rate: '40MiB/s' }))
    let rounds = 0
    for await (const measurement of vm.watchDirtyRate({
      every: 30,
      mode: 'page-sampling',
      samplePages: 16_384,
    })) {
      expect(measurement).toMatchObject({ mode: 'page-sampling', window: { requestedMs: 30 } })
      expect(measurement.interval.low).toBeLessThanOrEqual(measurement.bytesPerSecond)
      expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
      if (++rounds === 4) break
    }
  })

  it('ends with its signal', async () => {
    const vm = await running(workload.stride({ pages: 500 }))
    const reason = new Error('mine')
    const controller = new AbortController()
    const watch = vm.watchDirtyRate({
      every: '1h',
      mode: 'page-sampling',
      signal: controller.signal,
    })
    setTimeout(() => controller.abort(reason), 30)
    await expect(watch.next()).rejects.toBe(reason)
  })
})
