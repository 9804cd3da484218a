/**
 * All ways of measuring at the same time on one VM: each has its own right answer, and none takes a
 * page from another one or adds a page to it.
 */

import { expect, it } from 'vitest'
import {
  type InMode,
  type VirtualMachine,
  type VirtualMachineMeasurement,
  workload,
} from '../../ts/index.js'
import { changedPages, contents, dirtyPages, PAGE, running, sleep } from '../fixtures/machine.js'
import { describeMode, exactModesHere, logFor } from '../fixtures/modes.js'
import { deviation } from '../fixtures/occupancy.js'
import { covers, expectTruth, expectWritten } from '../fixtures/truth.js'

const sampling = { mode: 'page-sampling', samplePages: 16_384 } as const
/**
 * Of the intervals that are looked at here, which are less than a hundred, one misses with a
 * probability below 1e-6.
 */
const confidence = 1 - 1e-8

/** A migration: takes what is dirty now and then, and has it all in the end. */
async function migration(
  vm: VirtualMachine,
): Promise<{ send(): Promise<void>; sent: Set<number> }> {
  const { dirtyMemory } = vm
  const sent = new Set<number>()
  await dirtyMemory.startTracking('migration')
  await dirtyMemory.sync()
  await dirtyMemory.take('migration')
  return {
    sent,
    async send() {
      await dirtyMemory.sync()
      for (const page of await dirtyPages(vm, 'migration', 'ram', { take: true })) sent.add(page)
    },
  }
}

/**
 * The hits are what as many samples of one page in each part of the memory find of the guest's
 * pages, or of no more than that.
 */
function expectSampled({
  blocks,
  sampling,
  truth,
}: InMode<VirtualMachineMeasurement, 'page-sampling'>): void {
  const { samples, hits } = sampling
  const memory = blocks.reduce((sum, { bytes }) => sum + bytes, 0) / PAGE
  // In parts the variance is at most that of samples from anywhere.
  const expected = (pages = Number.NaN): { mean: number; away: number } => {
    const fraction = pages / memory
    return {
      mean: samples * fraction,
      away: deviation(samples * fraction * (1 - fraction), 1 - confidence),
    }
  }
  const [low, high] = [expected(truth?.low), expected(truth?.high)]
  expect(hits).toBeGreaterThanOrEqual(low.mean - low.away)
  expect(hits).toBeLessThanOrEqual(high.mean + high.away)
}

for (const mode of exactModesHere) {
  describeMode(mode, `all at once on a VM for ${mode}`, () => {
    it.each([mode, 'page-sampling'] as const)(
      'is right, each by itself: with a job by %s',
      async jobMode => {
        const guest = workload.random({ pages: 3000, granted: true, seed: 9 })
        const vm = await running(guest, { vcpus: 2, ...logFor(mode) })
        const { dirtyMemory } = vm
        await vm.workload?.settled()
        const { send, sent } = await migration(vm)
        const before = await contents(vm, 'ram')
        let busy = true
        const writer = (async () => {
          for (let round = 0; busy; round++) {
            vm.workload?.grant(1 + (round % 40))
            await sleep(3)
            if (round % 5 === 0) await send()
          }
        })()

        const jobs: VirtualMachineMeasurement[] = []
        vm.on(
          'done',
          ({ by, result }) => by === 'calc' && jobs.push(result as VirtualMachineMeasurement),
        )
        const watch = async (
          check: (round: VirtualMachineMeasurement) => void,
          options: object,
        ): Promise<void> => {
          let rounds = 0
          for await (const measurement of vm.watchDirtyRate({ every: 25, ...options })) {
            check(measurement)
            if (++rounds === 10) break
          }
        }
        const expectCovered = (measurement: VirtualMachineMeasurement): void => {
          expect(measurement.mode).toBe('page-sampling')
          expect(covers(measurement)).toBe(true)
        }
        const watches = [
          watch(expectTruth, {}),
          watch(expectTruth, { every: 40 }),
          watch(expectCovered, { ...sampling, confidence }),
        ]
        const job = { 'calc-time-unit': 'millisecond', mode: jobMode } as const
        const samples = jobMode === 'page-sampling' ? { 'sample-pages': sampling.samplePages } : {}
        await vm.calcDirtyRate({ ...job, ...samples, 'calc-time': 200 })
        // QEMU has one job, whatever the second one is, and whatever else measures.
        await expect(vm.calcDirtyRate({ ...job, 'calc-time': 100 })).rejects.toMatchObject({
          code: 'ERR_QAPI',
          class: 'GenericError',
          message: 'the dirty rate is already being measured.',
        })
        for (let round = 0; round < 4; round++) {
          const [curve, measurement, estimate] = await Promise.all([
            vm.measureDirtyCurve({ windows: [20, 60, 110] }),
            vm.measureDirtyRate({ window: 90 }),
            vm.measureDirtyRate({ window: 100, ...sampling, confidence }),
          ])
          for (const point of curve.points) expectTruth(point)
          expectTruth(measurement)
          expectCovered(estimate)
        }
        await Promise.all(watches)
        while ((await vm.queryDirtyRate()).status === 'measuring') await sleep(5)
        // The one that was not refused, and by nothing else that was measured meanwhile.
        expect(jobs).toHaveLength(1)
        const [done] = jobs as [VirtualMachineMeasurement]
        expect(done).toMatchObject({ mode: jobMode, window: { requestedMs: 200 } })
        expect(await vm.queryDirtyRate({ 'calc-time-unit': 'millisecond' })).toEqual(done.qapi)
        if (done.mode === 'page-sampling') expectSampled(done)
        else expectTruth(done)

        busy = false
        await writer
        await vm.workload?.settled()
        await send()
        // Page for page what changed in the memory, whatever any log says of it.
        await expectWritten(vm, sent, changedPages(before, await contents(vm, 'ram')))
        expect(sent.size).toBeGreaterThan(100)
        expect(dirtyMemory.loggingBlocks()).toEqual(['ram'])
        await dirtyMemory.stopTracking('migration')
        expect(dirtyMemory.loggingBlocks()).toEqual([])
      },
    )
  })
}
