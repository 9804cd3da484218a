import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { capabilities, type LogEvent, setLog, VirtualMachine, workload } from '../../../ts/index.js'
import {
  crashAtOnce,
  crashOnFlag,
  elf,
  FLAG_ADDRESS,
  folder,
  sayAndHalt,
} from '../../fixtures/elf.js'
import { describeKvm } from '../../fixtures/kvm.js'
import { created, MEMORY, MEMORY_BYTES, running, sleep } from '../../fixtures/machine.js'

const GIB = 2 ** 30

describeKvm('creating a VM', () => {
  it.each([0, -1, -4096, Number.NaN, 4096.5, 2 ** 60, 6000, '0B', '1', 'much', null, []])(
    'refuses memory %s',
    async memory => {
      const create = VirtualMachine.create({ memory: memory as never })
      await expect(create).rejects.toMatchObject({
        code: 'ERR_ARGUMENT',
        message: expect.stringContaining('memory'),
      })
    },
  )

  it.each([0, -1, 5000, 1.5, Number.NaN, '2'])('refuses %s vCPUs', async vcpus => {
    const create = VirtualMachine.create({ memory: '64MiB', vcpus: vcpus as never })
    await expect(create).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining('vcpus'),
      hint: `Give a whole number from 1 to ${capabilities().vcpus}.`,
    })
  })

  const low = { name: 'low', guestAddress: 0, bytes: '16MiB' }
  it.each([
    ['overlap', { name: 'other', guestAddress: '8MiB', bytes: '16MiB' }],
    ['unaligned address', { name: 'other', guestAddress: 2 ** 30 + 1, bytes: '16MiB' }],
    ['unaligned size', { name: 'other', guestAddress: '1GiB', bytes: 4097 }],
    ['no size', { name: 'other', guestAddress: '1GiB', bytes: 0 }],
    ['negative address', { name: 'other', guestAddress: -4096, bytes: 4096 }],
    ['NaN', { name: 'other', guestAddress: Number.NaN, bytes: 4096 }],
  ])('refuses blocks that do not fit: %s, and names the block', async (_, other) => {
    const create = VirtualMachine.create({ memory: [low, other] })
    await expect(create).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining("'other'"),
    })
  })

  it('refuses two blocks of one name, and no block', async () => {
    const twice = VirtualMachine.create({ memory: [low, { ...low, guestAddress: '1GiB' }] })
    await expect(twice).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining("'low'"),
    })
    await expect(VirtualMachine.create({ memory: [] })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
    })
  })

  it.each([
    [{ ringEntries: 0 }, 'ringEntries: 0', ''],
    [{ ringEntries: 1.5 }, 'ringEntries: 1.5', ''],
    [{ ringEntries: Number.NaN }, 'ringEntries: NaN', ''],
    [{}, 'ringEntries', ''],
    ['ring', "dirtyLog: 'ring' is not known", 'auto, bitmap'],
  ])('refuses the dirty log %j', async (dirtyLog, message, hint) => {
    const create = VirtualMachine.create({ memory: '64MiB', dirtyLog: dirtyLog as never })
    await expect(create).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint),
    })
  })

  it.each([-1, 1.5, Number.NaN, 2e6])('refuses a history of %s', async historySize => {
    const create = VirtualMachine.create({ memory: '64MiB', historySize })
    await expect(create).rejects.toMatchObject({ code: 'ERR_ARGUMENT' })
  })

  it.each([
    ['/nonexistent/kvm', 'ERR_KVM_ABSENT'],
    ['/dev/null', 'ERR_KVM_VERSION'],
  ])('says of %s that it is %s', async (kvmPath, code) => {
    const hint = expect.stringMatching(/./)
    await expect(VirtualMachine.create({ memory: '64MiB', kvmPath })).rejects.toMatchObject({
      code,
      hint,
    })
    expect(() => capabilities(kvmPath)).toThrow(expect.objectContaining({ code }))
  })

  it('rejects with the reason of a signal that is aborted', async () => {
    const reason = new Error('mine')
    const create = VirtualMachine.create({ memory: '64MiB', signal: AbortSignal.abort(reason) })
    await expect(create).rejects.toBe(reason)
    const controller = new AbortController()
    const late = VirtualMachine.create({ memory: '64MiB', signal: controller.signal })
    controller.abort(reason)
    await expect(late).rejects.toBe(reason)
  })

  it('lays memory out around the hole below 4 GiB, on x86-64 as q35 does', async () => {
    const LOW = process.arch === 'x64' ? 2 * GIB : 3 * GIB
    const vm = await created({ memory: '5GiB' })
    expect(vm.blocks).toMatchObject([
      { name: 'ram-low', guestAddress: 0, bytes: LOW },
      { name: 'ram-high', guestAddress: 4 * GIB, bytes: 5 * GIB - LOW },
    ])
    expect(await vm.describe()).toMatchObject({
      memoryBytes: 5 * GIB,
      vcpus: 1,
      modes: [
        { mode: 'dirty-bitmap', exact: true },
        { mode: 'page-sampling', exact: false },
      ],
    })
  })

  it.each(['none', 'enable', 'initially-set'] as const)(
    'takes manual protect %s',
    async manualProtect => {
      const vm = await created({ manualProtect })
      expect(vm.manualProtect).toBe(manualProtect)
    },
  )
})

describeKvm("a VM's life", () => {
  it('goes through its states', async () => {
    const vm = await created()
    expect(vm.state).toBe('created')
    expect(vm.uri).toBe(`vm:memory=${MEMORY},vcpus=1`)
    await vm.load(workload.stride({ pages: 100, rate: '1MiB/s' }))
    expect(vm.uri).toBe(`guest:stride,pages=100,rate=1MiB/s,memory=${MEMORY},vcpus=1`)
    await vm.start()
    expect(vm.state).toBe('running')
    await vm.pause()
    expect(vm.state).toBe('paused')
    await vm.resume()
    expect(vm.state).toBe('running')
    await vm.shutdown()
    expect(vm.state).toBe('shutdown')
    await vm.readMemory(0, new Uint8Array(16))
    await Promise.all([vm.close(), vm.close(), vm[Symbol.asyncDispose]()])
    expect(vm.state).toBe('closed')
  })

  it('refuses what its state does not allow, and goes on', async () => {
    const vm = await created()
    await expect(vm.resume()).rejects.toMatchObject({ code: 'ERR_STATE' })
    await vm.load(workload.stride({ pages: 100 }))
    await vm.start()
    await expect(vm.start()).rejects.toMatchObject({ code: 'ERR_STATE' })
    await expect(vm.load(workload.idle())).rejects.toMatchObject({ code: 'ERR_STATE' })
    expect((await vm.measureDirtyRate({ window: 50 })).pages).toBeGreaterThan(0)
  })

  it('says of each call that it cannot be made after a shutdown, and why', async () => {
    const vm = await running(workload.stride({ pages: 100, granted: true }))
    const { workload: guest } = vm
    await vm.pause()
    guest?.grant(1000)
    await vm.shutdown()
    for (const [call, participle] of [
      [() => vm.start(), 'started'],
      [() => vm.pause(), 'paused'],
      [() => vm.resume(), 'resumed'],
      [() => guest?.settled(), 'waited for'],
    ] as const) {
      await expect(call()).rejects.toMatchObject({
        code: 'ERR_STATE',
        message: `the virtual machine cannot be ${participle}: it was shut down`,
      })
    }
  })

  it('is over after close: every method says so', async () => {
    const vm = await running(workload.stride({ pages: 100, granted: true }))
    const { dirtyMemory, workload: guest } = vm
    const measurement = await vm.measureDirtyRate({ window: 5 })
    const instant = guest?.instant() ?? { writes: [], budgets: [], grants: 0 }
    await vm.close()
    const block = { name: 'dimm', guestAddress: '1GiB', bytes: '4MiB' }
    const calls: Record<string, () => unknown> = {
      load: () => vm.load(workload.idle()),
      start: () => vm.start(),
      pause: () => vm.pause(),
      resume: () => vm.resume(),
      shutdown: () => vm.shutdown(),
      addBlock: () => vm.addBlock(block),
      removeBlock: () => vm.removeBlock('ram'),
      readMemory: () => vm.readMemory(0, new Uint8Array(1)),
      writeMemory: () => vm.writeMemory(0, new Uint8Array(1)),
      describe: () => vm.describe(),
      measureDirtyRate: () => vm.measureDirtyRate(),
      measureDirtyCurve: () => vm.measureDirtyCurve({ windows: [1] }),
      watchDirtyRate: () => vm.watchDirtyRate().next(),
      calcDirtyRate: () => vm.calcDirtyRate({ 'calc-time': 1 }),
      queryDirtyRate: () => vm.queryDirtyRate(),
      on: () => vm.on('done', () => {}),
      uri: () => vm.uri,
      blocks: () => vm.blocks,
      manualProtect: () => vm.manualProtect,
      startTracking: () => dirtyMemory.startTracking('dirty-rate'),
      stopTracking: () => dirtyMemory.stopTracking('dirty-rate'),
      isTracking: () => dirtyMemory.isTracking('dirty-rate'),
      setLogMask: () => dirtyMemory.setLogMask('ram', true),
      loggingBlocks: () => dirtyMemory.loggingBlocks(),
      discardInitialLog: () => dirtyMemory.discardInitialLog(),
      clear: () => dirtyMemory.clear('dirty-rate'),
      sync: () => dirtyMemory.sync(),
      syncAt: () => dirtyMemory.syncAt('dirty-rate', [1]),
      reap: () => dirtyMemory.reap('dirty-rate'),
      take: () => dirtyMemory.take('dirty-rate'),
      readBitmap: () => dirtyMemory.readBitmap('dirty-rate', 'ram', new BigUint64Array(256)),
      ranges: () => dirtyMemory.ranges('dirty-rate', 'ram'),
      heat: () => dirtyMemory.heat('dirty-rate', 'ram', new Uint32Array(32)),
      grant: () => guest?.grant(1),
      settled: () => guest?.settled(),
      instant: () => guest?.instant(),
      truth: () => guest?.truth(instant, instant),
      confirmContents: () => guest?.confirmContents(),
    }
    for (const [name, call] of Object.entries(calls)) {
      const error = await new Promise<unknown>(resolve => resolve(call())).then(
        () => undefined,
        thrown => thrown as Error & { code: string },
      )
      expect([name, error?.name, error?.code]).toEqual([name, 'DirtyRateError', 'ERR_CLOSED'])
    }
    // What is on this side stays.
    expect(vm).toMatchObject({ state: 'closed', crash: null, vcpus: 1, dirtyLog: 'bitmap' })
    expect(vm.history).toEqual([measurement])
  })

  it('reads and writes memory, and nothing outside of it', async () => {
    const vm = await created()
    const into = new Uint8Array(5000)
    const bytes = into.map((_, i) => i & 0xff)
    await vm.writeMemory(4000, bytes)
    await vm.readMemory(4000, into)
    expect(into).toEqual(bytes)
    for (const address of [MEMORY_BYTES, MEMORY_BYTES - 1, -1, Number.NaN, 2 ** 60]) {
      const refused = { code: 'ERR_ARGUMENT' }
      await expect(vm.readMemory(address, new Uint8Array(2))).rejects.toMatchObject(refused)
      await expect(vm.writeMemory(address, bytes)).rejects.toMatchObject(refused)
    }
  })

  it('adds and removes blocks while it runs', async () => {
    const vm = await running(workload.stride({ pages: 1000 }))
    const added = await vm.addBlock({ name: 'dimm', guestAddress: '1GiB', bytes: '8MiB' })
    await expect(
      vm.addBlock({ name: 'x', guestAddress: '1GiB', bytes: '8MiB' }),
    ).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining("'x'"),
    })
    await vm.removeBlock('dimm')
    await expect(vm.removeBlock('dimm')).rejects.toMatchObject({ code: 'ERR_ARGUMENT' })
    const again = await vm.addBlock({ name: 'dimm', guestAddress: '1GiB', bytes: '8MiB' })
    expect(again.generation).not.toBe(added.generation)
    expect(vm.state).toBe('running')
  })
})

describeKvm('loading', () => {
  const pvh = elf(sayAndHalt('ok'))
  it.each([
    ['absent', undefined],
    ['empty', ''],
    ['truncated', pvh.subarray(0, 100)],
    ['truncated in its segment', pvh.subarray(0, pvh.length - 4)],
    ['not an ELF', 'MZ'.repeat(4096)],
    ['without the PVH note', elf(sayAndHalt('no'), { note: false })],
    ['larger than the memory', elf(sayAndHalt('no'), { memoryBytes: 2 ** 30 })],
  ])('refuses a kernel that is %s, and the VM is usable', async (_, content) => {
    const put = folder()
    const good = put('good.elf', pvh)
    const kernel = content === undefined ? join(good, '..', 'absent') : put('bad.elf', content)
    const vm = await created()
    await expect(vm.load({ kernel })).rejects.toMatchObject({
      code: 'ERR_KERNEL_IMAGE',
      message: expect.stringContaining(kernel),
    })
    await vm.load({ kernel: good })
    await vm.start()
    for await (const text of vm.console) {
      expect(text[0]).toBe('o')
      break
    }
  })

  it.each([undefined, null, {}, { kernel: '' }, { kernel: 5 }, { kind: 'nonsense', pages: 1 }])(
    'refuses %j',
    async image => {
      const vm = await created()
      await expect(vm.load(image as never)).rejects.toMatchObject({ code: 'ERR_ARGUMENT' })
    },
  )

  it.each([
    ['more pages than memory', () => workload.stride({ pages: 2 ** 20 })],
    ['no page', () => workload.stride({ pages: 0 })],
    ['half a page', () => workload.stride({ pages: 0.5 })],
    ['NaN pages', () => workload.random({ pages: Number.NaN })],
    ['a rate and grants', () => workload.stride({ pages: 1, rate: 1, granted: true })],
    ['an unknown placement', () => workload.stride({ pages: 1, placement: 'everywhere' as never })],
    ['a negative seed', () => workload.random({ pages: 1, seed: -1 })],
  ])('refuses a workload of %s', async (_, make) => {
    const vm = await created()
    await expect((async () => vm.load(make()))()).rejects.toMatchObject({ code: 'ERR_ARGUMENT' })
    await vm.load(workload.stride({ pages: 100 }))
    await vm.start()
  })
})

describeKvm('the console', () => {
  it('ends when the VM does', async () => {
    const vm = await running({ kernel: folder()('say.elf', elf(sayAndHalt('hello\n'))) })
    let text = ''
    for await (const piece of vm.console) {
      text += piece
      if (text.endsWith('\n')) await vm.shutdown()
    }
    expect(text).toBe('hello\n')
  })

  it('can be left while nothing comes', async () => {
    const vm = await running(workload.idle())
    const iterator = vm.console[Symbol.asyncIterator]()
    const next = iterator.next()
    await sleep(20)
    await iterator.return?.()
    expect(await next).toEqual({ done: true, value: undefined })
  })
})

describeKvm('a crash', () => {
  it('is reported with vCPU, reason and rip, ends a measurement, and leaves the memory readable', async () => {
    const vm = await running({ kernel: folder()('crash.elf', elf(crashOnFlag)) })
    const inside = vm.measureDirtyRate({ window: '1h' })
    await sleep(20)
    await vm.writeMemory(FLAG_ADDRESS, Uint8Array.of(1))
    const crash = {
      code: 'ERR_GUEST_CRASHED',
      message: expect.stringMatching(/within the window: vCPU 0: .+/),
    }
    await expect(inside).rejects.toMatchObject(crash)
    expect(vm.state).toBe('crashed')
    expect(vm.crash).toMatchObject({ vcpu: 0, reason: expect.stringMatching(/./) })
    await expect(vm.measureDirtyRate()).rejects.toMatchObject({ code: 'ERR_GUEST_CRASHED' })
    const flag = new Uint8Array(1)
    await vm.readMemory(FLAG_ADDRESS, flag)
    expect(flag[0]).toBe(1)
    expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
  })

  it('is an event of the log', async () => {
    const events: LogEvent[] = []
    setLog('error', event => events.push(event))
    onTestFinished(() => setLog('off', null))
    const vm = await created()
    await vm.load({ kernel: folder()('crash.elf', elf(crashAtOnce)) })
    await vm.start().catch(() => {})
    while (events.length === 0) await sleep(5)
    expect(events[0]).toMatchObject({
      level: 'error',
      target: expect.stringMatching(/^dirtyrate/),
      fields: { vcpu: '0' },
    })
  })

  it('does not happen to a VM that is closed', async () => {
    const vm = await VirtualMachine.create({ memory: '64MiB' })
    onTestFinished(() => vm.close())
    expect(vm.crash).toBeNull()
  })
})
