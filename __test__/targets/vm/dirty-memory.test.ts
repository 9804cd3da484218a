import { expect, it } from 'vitest'
import { type Client, type Workload, workload } from '../../../ts/index.js'
import { describeKvm, full } from '../../fixtures/kvm.js'
import {
  changedPages,
  contents,
  created,
  dirtyPages,
  MEMORY_BYTES,
  PAGE,
  running,
} from '../../fixtures/machine.js'
import { expectCounted, expectTruth, expectWritten } from '../../fixtures/truth.js'

/**
 * Of the map of heat, and how many there are of the memory of a VM that needs none in particular.
 */
const REGION_BYTES = 2 ** 21
const REGIONS = MEMORY_BYTES / REGION_BYTES

/** Holes between the blocks, sizes that are no multiple of 64 pages. */
const holes = [
  { name: 'a', guestAddress: 0, bytes: 1539 * PAGE },
  { name: 'b', guestAddress: '512MiB', bytes: 513 * PAGE },
  { name: 'c', guestAddress: '4GiB', bytes: 577 * PAGE },
]

describeKvm('the five steps', () => {
  const rounds = full ? 100 : 6
  const guests: [string, Workload][] = [
    ['stride', workload.stride({ pages: 1500, granted: true, placement: 'spread' })],
    ['random', workload.random({ pages: 1500, granted: true, placement: 'spread', seed: 7 })],
    ['hot-cold', workload.hotCold({ pages: 1500, granted: true, placement: 'spread' })],
    [
      'shared stride',
      workload.stride({ pages: 1500, granted: true, sharing: 'shared', placement: 'spread' }),
    ],
  ]
  const machines = [1, 2, 4].flatMap(vcpus =>
    guests.map(([name, guest]) => ({ name, guest, vcpus, manualProtect: 'auto' as const })),
  )
  const states = (['none', 'enable', 'initially-set'] as const).map(manualProtect => ({
    name: 'stride',
    guest: workload.stride({ pages: 1500, granted: true, placement: 'spread' }),
    vcpus: 2,
    manualProtect,
  }))

  it.each([...machines, ...states])(
    'find exactly the pages that changed: $name, $vcpus vCPUs, manual protect $manualProtect',
    async ({ guest, vcpus, manualProtect }) => {
      const vm = await running(guest, { memory: holes, vcpus, manualProtect })
      const { dirtyMemory } = vm
      for (let round = 0; round < rounds; round++) {
        await vm.workload?.settled()
        await dirtyMemory.startTracking('dirty-rate')
        await dirtyMemory.discardInitialLog()
        await dirtyMemory.clear('dirty-rate')
        const before = await Promise.all(vm.blocks.map(({ name }) => contents(vm, name)))
        const from = vm.workload?.instant()
        vm.workload?.grant(1 + Math.floor(Math.random() * 1000))
        await vm.workload?.settled()
        const to = vm.workload?.instant()
        await dirtyMemory.sync()
        const reap = await dirtyMemory.reap('dirty-rate')
        await dirtyMemory.stopTracking('dirty-rate')
        let writtenPages = 0
        for (const [at, { name }] of vm.blocks.entries()) {
          const written = changedPages(before[at] as Buffer, await contents(vm, name))
          const measured = await dirtyPages(vm, 'dirty-rate', name)
          await expectWritten(vm, measured, written)
          expect(reap.blocks[at]?.pages).toBe(measured.size)
          writtenPages += written.size
        }
        expect(reap.pages).toBe(reap.blocks.reduce((sum, { pages }) => sum + pages, 0))
        expect(await vm.workload?.confirmContents()).toBeNull()
        if (from && to) expect((await vm.workload?.truth(from, to))?.pages).toBe(writtenPages)
        expect(reap.truth?.pages).toBe(writtenPages)
        await expectCounted(vm, reap)
        expect(dirtyMemory.loggingBlocks()).toEqual([])
      }
    },
  )

  it('see writes that do not change what is there', async () => {
    const vm = await running(workload.silent({ pages: 1000, granted: true }))
    const { dirtyMemory } = vm
    // The first pass writes what the pages do not hold yet.
    vm.workload?.grant(1000)
    await vm.workload?.settled()
    await dirtyMemory.startTracking('dirty-rate')
    await dirtyMemory.discardInitialLog()
    await dirtyMemory.clear('dirty-rate')
    const before = await contents(vm, 'ram')
    vm.workload?.grant(1000)
    await vm.workload?.settled()
    await dirtyMemory.sync()
    const reap = await dirtyMemory.reap('dirty-rate')
    await expectCounted(vm, reap)
    expect(reap.truth?.pages).toBeGreaterThanOrEqual(1000)
    expect(changedPages(before, await contents(vm, 'ram')).size).toBeLessThan(10)
  })

  it("count the host's writes", async () => {
    const vm = await created()
    const { dirtyMemory } = vm
    await dirtyMemory.startTracking('dirty-rate')
    await dirtyMemory.discardInitialLog()
    await dirtyMemory.clear('dirty-rate')
    await vm.writeMemory(5 * PAGE - 1, Uint8Array.of(1, 2))
    await vm.writeMemory(63 * PAGE, new Uint8Array(2 * PAGE))
    expect(await dirtyPages(vm, 'dirty-rate', 'ram')).toEqual(new Set([4, 5, 63, 64]))
    expect(await dirtyMemory.ranges('dirty-rate', 'ram')).toEqual(Uint32Array.of(4, 2, 63, 2))
    expect(await dirtyMemory.ranges('dirty-rate', 'ram', { from: 5, limit: 1 })).toEqual(
      Uint32Array.of(5, 1),
    )
    expect(await dirtyMemory.ranges('dirty-rate', 'ram', { from: 2 ** 40 })).toEqual(
      new Uint32Array(),
    )
    const heat = new Uint32Array(REGIONS)
    expect(await dirtyMemory.heat('dirty-rate', 'ram', heat)).toBe(REGIONS)
    const expected = new Array(REGIONS).fill(0)
    for (const page of [4, 5, 63, 64]) expected[Math.floor((page * PAGE) / REGION_BYTES)]++
    expect([...heat]).toEqual(expected)
    expect((await dirtyMemory.take('dirty-rate')).pages).toBe(4)
    expect((await dirtyMemory.reap('dirty-rate')).pages).toBe(0)
  })

  it('give a bitmap of several pieces, and take none for which there is no room', async () => {
    // 192 GiB of it are three pieces where a page is 4 KiB; the last word is not full.
    const third = 2 ** 36 / PAGE
    const vm = await created({
      memory: [
        { name: 'ram', guestAddress: 0, bytes: 2 ** 31 },
        { name: 'big', guestAddress: '4GiB', bytes: 3 * 2 ** 36 - PAGE },
      ],
    })
    const { dirtyMemory } = vm
    await dirtyMemory.startTracking('dirty-rate')
    await dirtyMemory.discardInitialLog()
    await dirtyMemory.clear('dirty-rate')
    const pages = [0, third - 1, third, 2 * third + 65, 3 * third - 2]
    for (const page of pages) await vm.writeMemory(2 ** 32 + page * PAGE, Uint8Array.of(1))
    expect(await dirtyPages(vm, 'dirty-rate', 'big')).toEqual(new Set(pages))
    expect(await dirtyMemory.ranges('dirty-rate', 'big')).toEqual(
      Uint32Array.of(0, 1, third - 1, 2, 2 * third + 65, 1, 3 * third - 2, 1),
    )

    const into = new BigUint64Array((3 * third) / 64)
    const taking = dirtyMemory.readBitmap('dirty-rate', 'big', into, { take: true })
    structuredClone(into.buffer, { transfer: [into.buffer] })
    await expect(taking).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining('transferred'),
    })
    await expect(
      dirtyMemory.readBitmap('dirty-rate', 'big', new BigUint64Array(1), { take: true }),
    ).rejects.toMatchObject({ code: 'ERR_ARGUMENT' })
    expect((await dirtyMemory.reap('dirty-rate')).pages).toBe(pages.length)
    expect(await dirtyPages(vm, 'dirty-rate', 'big', { take: true })).toEqual(new Set(pages))
    expect((await dirtyMemory.reap('dirty-rate')).pages).toBe(0)
  })

  it('say what opens a window to who waits for the end of one', async () => {
    const { dirtyMemory } = await running(workload.idle())
    await expect(dirtyMemory.syncAt('dirty-rate', [1])).rejects.toMatchObject({
      code: 'ERR_STATE',
      hint: expect.stringContaining("startTracking('dirty-rate')"),
    })
    await expect(dirtyMemory.syncAt('vga', [1])).rejects.toMatchObject({
      hint: expect.stringContaining('setLogMask'),
    })
  })

  it('take deadlines from a native thread', async () => {
    const vm = await running(workload.stride({ pages: 2000 }))
    const { dirtyMemory } = vm
    await dirtyMemory.startTracking('dirty-rate')
    await dirtyMemory.discardInitialLog()
    await dirtyMemory.clear('dirty-rate')
    const reports = await dirtyMemory.syncAt('dirty-rate', ['20ms', 60, '0.1s'])
    expect(reports.map(({ requestedMs }) => requestedMs)).toEqual([20, 60, 100])
    for (const [at, { reap, requestedMs }] of reports.entries()) {
      expect(reap.windowNs).toBeGreaterThanOrEqual(requestedMs * 1e6)
      expect(reap.pages).toBeGreaterThanOrEqual(reports[at - 1]?.reap.pages ?? 0)
    }
  })
})

describeKvm('the clients', () => {
  it('have flags: the first turns the log on, the last turns it off, one twice changes nothing', async () => {
    const vm = await created({ memory: holes })
    const { dirtyMemory } = vm
    expect(dirtyMemory.loggingBlocks()).toEqual([])
    await dirtyMemory.startTracking('migration')
    await dirtyMemory.startTracking('migration')
    await dirtyMemory.startTracking('dirty-rate')
    expect(dirtyMemory.loggingBlocks()).toEqual(['a', 'b', 'c'])
    await dirtyMemory.stopTracking('migration')
    expect(dirtyMemory.isTracking('migration')).toBe(false)
    expect(dirtyMemory.loggingBlocks()).toEqual(['a', 'b', 'c'])
    await dirtyMemory.stopTracking('dirty-rate')
    expect(dirtyMemory.loggingBlocks()).toEqual([])
  })

  it('are refused by name', async () => {
    const vm = await created()
    const { dirtyMemory } = vm
    const unknown = 'dirty' as Client
    const argument = {
      code: 'ERR_ARGUMENT',
      message: "client: 'dirty' is not known",
      hint: 'Known: vga, code, migration, dirty-rate.',
    }
    await expect(dirtyMemory.startTracking(unknown)).rejects.toMatchObject(argument)
    await expect(dirtyMemory.reap(unknown)).rejects.toMatchObject(argument)
    const refused = (text: string) => ({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining(text),
    })
    const word = new BigUint64Array(1)
    await expect(dirtyMemory.readBitmap('migration', 'nowhere', word)).rejects.toMatchObject(
      refused('nowhere'),
    )
    await expect(dirtyMemory.readBitmap('migration', 'ram', word)).rejects.toMatchObject(
      refused('256 words'),
    )
    await expect(dirtyMemory.ranges('migration', 'nowhere')).rejects.toMatchObject(
      refused('nowhere'),
    )
    await expect(dirtyMemory.ranges('migration', 'ram', { from: -1 })).rejects.toMatchObject(
      refused('from'),
    )
    await expect(dirtyMemory.ranges('migration', 'ram', { limit: 0.5 })).rejects.toMatchObject(
      refused('limit'),
    )
    await expect(
      dirtyMemory.heat('migration', 'ram', new Uint32Array(REGIONS - 1)),
    ).rejects.toMatchObject(refused(`${REGIONS} regions`))
  })

  it.each([[[]], [['1s', '1s']], [['2s', '1s']], [['0.5ms']], [['2h']], [[Number.NaN]]])(
    'are refused the deadlines %j',
    async deadlines => {
      const vm = await created()
      await expect(vm.dirtyMemory.syncAt('dirty-rate', deadlines)).rejects.toMatchObject({
        code: 'ERR_ARGUMENT',
      })
    },
  )
})

describeKvm('a migration beside measurements', () => {
  it.each(['before', 'between', 'inside'] as const)(
    'started %s them loses no page and gains none',
    async when => {
      const vm = await running(workload.random({ pages: 3000, granted: true }), { vcpus: 2 })
      const { dirtyMemory } = vm
      const union = new Set<number>()
      const collect = async (): Promise<void> => {
        for (const page of await dirtyPages(vm, 'migration', 'ram', { take: true })) union.add(page)
      }
      // A migration starts with every page to be sent; what counts here is what it is told after
      // that.
      let before = await contents(vm, 'ram')
      const begin = async (): Promise<void> => {
        await dirtyMemory.startTracking('migration')
        await vm.workload?.settled()
        await dirtyMemory.sync()
        await dirtyMemory.take('migration')
        before = await contents(vm, 'ram')
      }
      if (when === 'before') await begin()
      const rounds = full ? 300 : 60
      for (let round = 0; round < rounds; round++) {
        const measurement = vm.measureDirtyRate({ window: 4 })
        vm.workload?.grant(1 + (round % 17))
        if (when === 'inside' && round === 10) await begin()
        // At its own pace: a sync inside of some of the windows.
        if (round % 3 === 0) await dirtyMemory.sync()
        expectTruth(await measurement)
        if (when === 'between' && round === 10) await begin()
        if (dirtyMemory.isTracking('migration') && round % 2 === 0) {
          await dirtyMemory.sync()
          await collect()
        }
      }
      await vm.workload?.settled()
      await dirtyMemory.sync()
      await collect()
      await expectWritten(vm, union, changedPages(before, await contents(vm, 'ram')))
      expect(dirtyMemory.loggingBlocks()).toEqual(['ram'])
      await dirtyMemory.stopTracking('migration')
      expect(dirtyMemory.loggingBlocks()).toEqual([])
    },
  )

  it('keeps the bits of a user that has stopped from measurements', async () => {
    const vm = await running(workload.idle())
    const { dirtyMemory } = vm
    await dirtyMemory.startTracking('dirty-rate')
    await dirtyMemory.discardInitialLog()
    await dirtyMemory.clear('dirty-rate')
    await vm.writeMemory(MEMORY_BYTES - 5 * PAGE, new Uint8Array(5 * PAGE).fill(1))
    await dirtyMemory.stopTracking('dirty-rate')
    const stopped = await dirtyMemory.reap('dirty-rate')
    expect(stopped.pages).toBeGreaterThanOrEqual(5)
    const beside = vm.measureDirtyRate({ window: 200 })
    while (!dirtyMemory.isTracking('dirty-rate'))
      await new Promise(resolve => setTimeout(resolve, 1))
    await expect(dirtyMemory.take('dirty-rate')).rejects.toMatchObject({ code: 'ERR_MEASURING' })
    await beside
    expect(dirtyMemory.isTracking('dirty-rate')).toBe(false)
    const { pages, windowNs } = await dirtyMemory.reap('dirty-rate')
    expect({ pages, windowNs }).toEqual({ pages: stopped.pages, windowNs: stopped.windowNs })
    // Once they are taken, a measurement has the client again.
    expect((await dirtyMemory.take('dirty-rate')).pages).toBe(stopped.pages)
    const measured = vm.measureDirtyRate({ window: 200 })
    while (!dirtyMemory.isTracking('dirty-rate'))
      await new Promise(resolve => setTimeout(resolve, 1))
    await measured
  })

  it('sees blocks come and go', async () => {
    const vm = await running(workload.stride({ pages: 500, granted: true }))
    const { dirtyMemory } = vm
    await dirtyMemory.startTracking('migration')
    await dirtyMemory.sync()
    await dirtyMemory.take('migration')
    for (let round = 0; round < 20; round++) {
      const measurement = vm.measureDirtyRate({ window: 20 })
      await vm.addBlock({ name: 'dimm', guestAddress: '1GiB', bytes: 256 * PAGE })
      const address = 2 ** 30 + (round % 256) * PAGE
      await vm.writeMemory(address, Uint8Array.of(round))
      await vm.removeBlock('dimm')
      await measurement
      const { blocks } = await dirtyMemory.take('migration')
      const dimm = blocks.find(({ name }) => name === 'dimm')
      expect(dimm?.removed).toBe(true)
      expect(dimm?.pages).toBeGreaterThanOrEqual(1)
    }
  })
})
