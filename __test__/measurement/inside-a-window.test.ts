/**
 * The VM is paused, ended, or changed while it is measured, in each mode and by each way of
 * measuring. The result is an error that says what happened, and never a 0.
 */

import { expect, it } from 'vitest'
import {
  type CreateOptions,
  type DirtyRateCurve,
  type DirtyRateMeasureMode,
  type MeasurementEvents,
  type VirtualMachine,
  type VirtualMachineMeasurement,
  workload,
} from '../../ts/index.js'
import { crashOnFlag, elf, FLAG_ADDRESS, folder } from '../fixtures/elf.js'
import { MEMORY_BYTES, PAGE, running, sleep, windowOpened } from '../fixtures/machine.js'
import { describeMode, exactModesHere, logFor, modesHere } from '../fixtures/modes.js'
import { expectCounted, expectTruth, windowsOf } from '../fixtures/truth.js'

const MIB = 2 ** 20

/**
 * A way of measuring that would go on for a minute or more: it ends with what happens to the VM.
 */
interface Way {
  by: MeasurementEvents['start']['by']
  /** The event after which the VM is changed. */
  ripe: 'start' | 'done'
  /** `happened`: the VM has been changed. */
  measure(
    vm: VirtualMachine,
    mode: DirtyRateMeasureMode,
    happened: Promise<unknown>,
  ): Promise<unknown>
}

const ways: Record<string, Way> = {
  'a measurement': {
    by: 'measure',
    ripe: 'start',
    measure: (vm, mode) => vm.measureDirtyRate({ window: '1h', mode }),
  },
  'a curve': {
    by: 'curve',
    ripe: 'start',
    measure: (vm, mode) => vm.measureDirtyCurve({ windows: [1, '1h'], mode }),
  },
  'a round of a watch': {
    by: 'watch',
    ripe: 'start',
    measure: (vm, mode) => vm.watchDirtyRate({ every: '1h', mode }).next(),
  },
  'a watch between two rounds': {
    by: 'watch',
    ripe: 'done',
    measure: async (vm, mode, happened) => {
      const watch = vm.watchDirtyRate({ every: 2, mode })
      await watch.next()
      await happened
      return watch.next()
    },
  },
  'a job': {
    by: 'calc',
    ripe: 'start',
    measure: async (vm, mode) => {
      await vm.calcDirtyRate({ 'calc-time': 60, mode })
      while ((await vm.queryDirtyRate()).status === 'measuring') await sleep(2)
    },
  },
}

/** Measures, changes the VM inside, and returns what it ended with and what the events told. */
async function interrupted(
  vm: VirtualMachine,
  { ripe, measure }: Way,
  mode: DirtyRateMeasureMode,
  change: () => Promise<unknown>,
): Promise<{ error: unknown; told: string[]; failures: unknown[] }> {
  const told: string[] = []
  const failures: unknown[] = []
  const ready = new Promise<void>(resolve => {
    for (const name of ['start', 'done', 'incomplete', 'failed'] as const) {
      vm.on(name, event => {
        told.push(`${name} ${event.by}`)
        if (name === 'failed') failures.push((event as MeasurementEvents['failed']).error)
        if (name === ripe) resolve()
      })
    }
  })
  let changed = (): void => {}
  const happened = new Promise<void>(resolve => {
    changed = resolve
  })
  const outcome = measure(vm, mode, happened).then(
    value => ({ value }),
    (error: unknown) => error,
  )
  await ready
  await sleep(Math.random() * 20)
  await change()
  changed()
  return { error: await outcome, told, failures }
}

for (const mode of modesHere) {
  describeMode(mode, `the VM while it is measured by ${mode}`, () => {
    it.each(
      Object.keys(ways).flatMap(way =>
        (['pause', 'shutdown', 'close', 'crash'] as const).map(end => ({ way, end })),
      ),
    )('$way ends with $end, and says so', async ({ way: name, end }) => {
      const way = ways[name] as Way
      const image =
        end === 'crash'
          ? { kernel: folder()('crash.elf', elf(crashOnFlag)) }
          : workload.stride({ pages: 500 })
      const vm = await running(image, logFor(mode))
      const crash = async (): Promise<void> => {
        await vm.writeMemory(FLAG_ADDRESS, Uint8Array.of(1))
        while (vm.state !== 'crashed') await sleep(1)
      }
      const change = {
        pause: () => vm.pause(),
        shutdown: () => vm.shutdown(),
        close: () => vm.close(),
        crash,
      }[end]
      const { error, told, failures } = await interrupted(vm, way, mode, change)
      expect(error).toMatchObject({
        code: {
          pause: 'ERR_PAUSED',
          shutdown: 'ERR_STATE',
          close: 'ERR_CLOSED',
          crash: 'ERR_GUEST_CRASHED',
        }[end],
        message: expect.stringMatching(/within the window/),
        hint: expect.stringMatching(/./),
      })
      if (end === 'crash')
        expect(error).toMatchObject({ message: expect.stringContaining('vCPU 0') })
      // One start, one end; and the round before it, where there was one. The loop hears of what
      // the VM's own calls do between two rounds before another one starts.
      const first = way.ripe === 'done' ? [`start ${way.by}`, `done ${way.by}`] : []
      const started = way.ripe === 'start' || end === 'crash'
      expect(told).toEqual([...first, ...(started ? [`start ${way.by}`, `failed ${way.by}`] : [])])
      expect(failures).toEqual(started ? [error] : [])
      if (end !== 'close') expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
      expect(vm.history).toHaveLength(way.ripe === 'done' ? 1 : 0)
      if (end !== 'pause') return
      // Nor is one that begins now a 0.
      const measure = vm.measureDirtyRate({ window: 1, mode })
      await expect(measure).rejects.toMatchObject({
        code: 'ERR_PAUSED',
        message: expect.stringMatching(/began/),
      })
      await vm.resume()
      expectTruth(await vm.measureDirtyRate({ window: 5 }))
    })
  })
}

for (const mode of exactModesHere) {
  describeMode(mode, `a VM whose only block is removed while ${mode} measures`, () => {
    it('ends the window at its deadline, and has no pages afterwards', async () => {
      const vm = await running(workload.idle(), logFor(mode))
      const measured = vm.measureDirtyRate({ window: 100, mode })
      await windowOpened(vm)
      for (const { name } of vm.blocks) await vm.removeBlock(name)
      await measured
      expect(vm.uri).toContain(',memory=0B,')
      const curve = await vm.measureDirtyCurve({ windows: [5, 10], mode })
      expect(windowsOf(curve)).toEqual([5, 10])
      for (const { pages, bytesPerSecond, interval } of curve.points) {
        expect(pages).toBe(0)
        // None of these is -0.
        expect([bytesPerSecond, interval.low, interval.high]).toEqual([0, 0, 0])
      }
    })
  })
}

/** Blocks that the guest does not write: the host does, and counts the pages. */
const dimm = (name: string, at: number): { name: string; guestAddress: number; bytes: number } => ({
  name,
  guestAddress: 2 ** 30 + at * 64 * MIB,
  bytes: (5 + 64 * at) * PAGE,
})

for (const mode of exactModesHere) {
  describeMode(mode, `blocks that come and go while ${mode} measures`, () => {
    /** Writes to blocks that are there, added and removed; returns how many pages of which. */
    const shuffle = async (vm: VirtualMachine, round: number): Promise<Record<string, number>> => {
      const write = async (block: { guestAddress: number }, pages: number[]): Promise<void> => {
        for (const page of pages)
          await vm.writeMemory(block.guestAddress + page * PAGE + 7, Uint8Array.of(round, 1))
      }
      const [kept, gone, added] = [dimm('kept', 1), dimm(`gone-${round}`, 2), dimm('added', 3)]
      await write(kept, [0, 64, 68, 64])
      await write(gone, [2, 130])
      await vm.removeBlock(gone.name)
      await vm.addBlock(added)
      await write(added, [0, 1, 63, 64, 196])
      vm.workload?.grant(50)
      await vm.workload?.settled()
      return { kept: 3, [gone.name]: 2, added: 5 }
    }
    /** And the way back, which the next round has. */
    const restore = async (vm: VirtualMachine, round: number): Promise<void> => {
      await vm.removeBlock('added')
      await vm.addBlock(dimm(`gone-${round}`, 2))
    }
    const options: Partial<CreateOptions> = {
      ...logFor(mode),
      vcpus: 2,
      memory: [
        { name: 'ram', guestAddress: 0, bytes: MEMORY_BYTES },
        dimm('kept', 1),
        dimm('gone-0', 2),
      ],
    }
    const byHost = (pages: Record<string, number>): number =>
      Object.values(pages).reduce((a, b) => a + b, 0)
    const guest = workload.stride({ pages: 3000, granted: true })

    /**
     * What is done between the opening of a window and its deadline: a machine too slow for that
     * gets a longer window.
     */
    async function within<T>(
      vm: VirtualMachine,
      measure: (window: number) => Promise<T>,
      check: (result: T, pages: Record<string, number>) => Promise<void>,
    ): Promise<void> {
      await vm.dirtyMemory.startTracking('migration')
      await vm.dirtyMemory.sync()
      for (let round = 0, window = 250; ; round++, window *= 2) {
        const began = performance.now()
        const measured = measure(window)
        await windowOpened(vm)
        const pages = await shuffle(vm, round)
        const inside = performance.now() - began < window
        const result = await measured
        if (inside) return check(result, pages)
        await restore(vm, round + 1)
      }
    }

    it('are right in a measurement', async () => {
      const vm = await running(guest, options)
      await within(
        vm,
        window => vm.measureDirtyRate({ window }),
        async ({ blocks = [], pages, truth, complete }: VirtualMachineMeasurement, written) => {
          const dimms = blocks
            .filter(({ name }) => name !== 'ram')
            .map(({ name, pages }) => [name, pages])
          expect(Object.fromEntries(dimms)).toEqual(written)
          await expectCounted(vm, { pages, truth }, byHost(written))
          expect(truth?.pages).toBeGreaterThanOrEqual(100)
          expect(complete).toBe(true)
        },
      )
    })

    it('are right in a curve', async () => {
      const vm = await running(guest, options)
      await within(
        vm,
        window => vm.measureDirtyCurve({ windows: [1, window] }),
        async ({ points }: DirtyRateCurve, written) => {
          await expectCounted(vm, points.at(-1) ?? {}, byHost(written))
        },
      )
    })

    it('are right in each round of a watch', async () => {
      const vm = await running(guest, options)
      let round = -1
      let written: Record<string, number> = {}
      for await (const { blocks = [], pages, truth } of vm.watchDirtyRate({ every: 10 })) {
        if (round >= 0) {
          const dimms = blocks.filter(({ name, pages }) => name !== 'ram' && pages > 0)
          expect(Object.fromEntries(dimms.map(({ name, pages }) => [name, pages]))).toEqual(written)
          await expectCounted(vm, { pages, truth }, byHost(written))
        }
        if (++round === 6) break
        // The window is open all the time: what is done between two rounds is in the next.
        written = await shuffle(vm, round)
        await restore(vm, round + 1)
      }
      expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
    })
  })
}
