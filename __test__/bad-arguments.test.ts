/**
 * Every call of the API refuses wrong arguments: the error is ERR_ARGUMENT, names the argument and
 * says what to give. The VM stays as it was.
 */

import { describe, expect, it } from 'vitest'
import {
  buildGuest,
  capabilities,
  formatTrace,
  humanMonitorCommand,
  openTarget,
  setLog,
  VirtualMachine,
  workload,
} from '../ts/index.js'
import { describeKvm } from './fixtures/kvm.js'
import { created, MEMORY, PAGE, running } from './fixtures/machine.js'
import { expectTruth } from './fixtures/truth.js'

/** Any type, because these calls are not allowed by the types. */
// biome-ignore lint/suspicious/noExplicitAny: so that what the types refuse can be written
type Wrong = any
const wrong = (value: unknown): Wrong => value

/** Throws or rejects with an ERR_ARGUMENT that has `text` in it, and a hint that is a sentence. */
async function refused(call: () => unknown, text: string): Promise<void> {
  await expect((async () => call())()).rejects.toMatchObject({
    name: 'DirtyRateError',
    code: 'ERR_ARGUMENT',
    message: expect.stringContaining(text),
    hint: expect.stringMatching(/^[A-Z].+\.$/),
  })
}

describe('without a VM', () => {
  it.each<[string, () => unknown, string]>([
    ['create()', () => VirtualMachine.create(wrong(undefined)), 'options: undefined'],
    ['create(null)', () => VirtualMachine.create(wrong(null)), 'options: null'],
    [
      'create with kvmPath 5',
      () => VirtualMachine.create({ memory: MEMORY, kvmPath: wrong(5) }),
      'kvmPath: 5',
    ],
    [
      'create with a signal {}',
      () => VirtualMachine.create({ memory: MEMORY, signal: wrong({}) }),
      'signal: ',
    ],
    ['openTarget(5)', () => openTarget(wrong(5)), 'target: 5'],
    ['openTarget(uri, null)', () => openTarget('guest:idle', wrong(null)), 'options: null'],
    [
      'create with a signal that has no listeners',
      () =>
        VirtualMachine.create({
          memory: MEMORY,
          signal: wrong({ aborted: false, throwIfAborted() {} }),
        }),
      'signal: ',
    ],
    [
      'openTarget with a signal 5',
      () => openTarget('guest:idle', { signal: wrong(5) }),
      'signal: 5',
    ],
    [
      'idle with pages',
      () => (workload.idle as Wrong)({ pages: 5 }),
      "pages: the workload 'idle' does not use it",
    ],
    [
      'idle with a seed',
      () => (workload.idle as Wrong)({ seed: 5 }),
      "seed: the workload 'idle' does not use it",
    ],
    ['idle with page', () => (workload.idle as Wrong)({ page: 5 }), "options: 'page' is not known"],
    ['idle(null)', () => (workload.idle as Wrong)(null), 'options: null'],
    ['stride()', () => workload.stride(wrong(undefined)), 'options: undefined'],
    ['a seed for stride', () => workload.stride({ pages: 1, seed: 1 }), 'seed: the workload'],
    [
      'buildGuest(guest)',
      () => buildGuest(workload.stride({ pages: 1 }), wrong(undefined)),
      'machine: undefined',
    ],
    [
      "buildGuest({ kind: 'stride' })",
      () => buildGuest(wrong({ kind: 'stride' }), { memory: MEMORY }),
      'pages: ',
    ],
    ['formatTrace(null)', () => formatTrace(wrong(null)), 'event: null'],
    [
      'a ring of 1000',
      () => VirtualMachine.create({ memory: MEMORY, dirtyLog: { ringEntries: 1000 } }),
      'power of two',
    ],
    [
      'a ring with manual protect',
      () =>
        VirtualMachine.create({
          memory: MEMORY,
          dirtyLog: { ringEntries: 4096 },
          manualProtect: 'enable',
        }),
      'manualProtect: ',
    ],
    ['buildGuest({})', () => buildGuest(wrong({}), { memory: MEMORY }), 'guest: not a workload'],
    ['setLog without a listener', () => setLog('debug', wrong(undefined)), 'listener: undefined'],
    [
      'create with vcpu',
      () => VirtualMachine.create({ memory: MEMORY, vcpu: 2 } as Wrong),
      "options: 'vcpu' is not known",
    ],
    [
      'a ring with ringEntrys',
      () => VirtualMachine.create({ memory: MEMORY, dirtyLog: wrong({ ringEntrys: 4096 }) }),
      "dirtyLog: 'ringEntrys' is not known",
    ],
    [
      'a block with size',
      () =>
        VirtualMachine.create({ memory: wrong([{ name: 'ram', guestAddress: 0, size: '1MiB' }]) }),
      "block 'ram': 'size' is not known",
    ],
    [
      'openTarget with modes',
      () => openTarget('guest:idle', wrong({ modes: 'auto' })),
      "options: 'modes' is not known",
    ],
    [
      'random with sead',
      () => workload.random({ pages: 1, sead: 1 } as Wrong),
      "options: 'sead' is not known",
    ],
    [
      'buildGuest with vcpu',
      () => buildGuest(workload.stride({ pages: 1 }), { memory: MEMORY, vcpu: 2 } as Wrong),
      "machine: 'vcpu' is not known",
    ],
    ...(
      [
        [
          { ...workload.random({ pages: 1 }), seed: 2 ** 40 },
          'seed: 1099511627776 is out of range',
        ],
        [{ ...workload.random({ pages: 1 }), seed: -1.5 }, 'seed: -1.5'],
        [
          { ...workload.stride({ pages: 1 }), seed: 1 },
          "seed: the workload 'stride' does not use it",
        ],
        [{ ...workload.stride({ pages: 1 }), bytesPerSecond: 5 }, 'bytesPerSecond: a workload'],
        [
          { ...workload.stride({ pages: 1, granted: true }), bytesPerSecond: Number.NaN },
          'rate: NaN',
        ],
        [
          { ...workload.stride({ pages: 1 }), pacing: 'clock' as const },
          'pacing: there is no rate',
        ],
        [{ ...workload.idle(), pages: 3 }, "pages: the workload 'idle' does not use it"],
      ] as const
    ).map(([guest, text]): [string, () => unknown, string] => [
      `a guest made by hand: ${text}`,
      () => buildGuest(guest, { memory: MEMORY }),
      text,
    ]),
    [
      'buildGuest of a workload with rate',
      () => buildGuest(wrong({ ...workload.stride({ pages: 1 }), rate: 5 }), { memory: MEMORY }),
      "workload: 'rate' is not known",
    ],
    ["setLog('debug', 'x')", () => setLog('debug', wrong('x')), "listener: 'x'"],
  ])('%s', (_, call, text) => refused(call, text))
})

describeKvm('with a VM', () => {
  it('every call says what it was, and the next measurement is right', async () => {
    const vm = await running(workload.stride({ pages: 500 }))
    const { dirtyMemory } = vm
    const calls: [() => unknown, string][] = [
      [() => vm.measureDirtyRate(wrong(null)), 'options: null'],
      [() => vm.measureDirtyRate({ signal: wrong({}) }), 'signal: '],
      [() => vm.start(wrong({ sginal: undefined })), "options: 'sginal' is not known"],
      [
        () => vm.measureDirtyRate({ mode: 'page-sampling', sampling: wrong(null) }),
        'sampling: null',
      ],
      [() => vm.measureDirtyCurve(wrong(undefined)), 'options: undefined'],
      [() => vm.measureDirtyRate(wrong({ windw: '10ms' })), "options: 'windw' is not known"],
      [() => vm.measureDirtyCurve(wrong({ window: '10ms' })), "options: 'window' is not known"],
      [() => vm.watchDirtyRate(wrong({ evry: '10ms' })), "options: 'evry' is not known"],
      [
        () => vm.measureDirtyRate({ mode: 'page-sampling', sampling: wrong({ sead: 1 }) }),
        "sampling: 'sead' is not known",
      ],
      [
        () => vm.load(wrong({ kernel: '/dev/null', initramfs: 'x' })),
        "load: 'initramfs' is not known",
      ],
      [
        () => vm.addBlock(wrong({ name: 'x', guestAdress: 0, bytes: 1 })),
        "block 'x': 'guestAdress' is not known",
      ],
      [() => vm.workload?.settled(wrong({ signl: 1 })), "options: 'signl' is not known"],
      [() => dirtyMemory.sync(wrong({ abort: 1 })), "options: 'abort' is not known"],
      [
        () => dirtyMemory.discardInitialLog(wrong({ timeout: 1 })),
        "options: 'timeout' is not known",
      ],
      [() => dirtyMemory.syncAt('migration', [1], wrong({ x: 1 })), "options: 'x' is not known"],
      [
        () => dirtyMemory.ranges('migration', 'ram', wrong({ form: 1 })),
        "options: 'form' is not known",
      ],
      [
        () =>
          dirtyMemory.readBitmap('migration', 'ram', new BigUint64Array(256), wrong({ tak: true })),
        "options: 'tak' is not known",
      ],
      [() => vm.watchDirtyRate(wrong(null)), 'options: null'],
      [() => vm.watchDirtyRate({ signal: wrong(5) }).next(), 'signal: 5'],
      [() => vm.on('start', wrong('x')), "listener: 'x'"],
      [() => vm.removeBlock(wrong(undefined)), 'name: undefined'],
      [() => vm.readMemory(0, wrong(new Uint16Array(1))), 'into: not a Uint8Array'],
      [() => vm.writeMemory(0, wrong([1])), 'bytes: not a Uint8Array'],
      [
        () => vm.writeMemory(0, new Uint8Array(new SharedArrayBuffer(1))),
        'bytes: it uses shared memory',
      ],
      [() => vm.load({ kernel: '/dev/null', initrd: '' }), 'initrd: it is empty'],
      [() => vm.load({ kernel: '/dev/null', cmdline: wrong(5) }), 'cmdline: 5'],
      [() => vm.workload?.settled(wrong(null)), 'options: null'],
      [() => vm.workload?.truth(wrong(null), wrong(null)), 'from: null'],
      [
        () => vm.workload?.truth(vm.workload.instant(), { writes: [] } as never),
        'to: it did not come from instant()',
      ],
      [() => humanMonitorCommand(wrong(null), 'info dirty_rate'), 'target: null'],
      [() => humanMonitorCommand(vm, wrong(5)), 'commandLine: 5'],
      [() => dirtyMemory.sync(wrong(null)), 'options: null'],
      [() => dirtyMemory.sync({ signal: wrong({}) }), 'signal: '],
      [() => dirtyMemory.discardInitialLog(wrong(null)), 'options: null'],
      [() => dirtyMemory.syncAt('migration', wrong(5)), 'deadlines: '],
      [() => dirtyMemory.syncAt('migration', [1], wrong(null)), 'options: null'],
      [() => dirtyMemory.setLogMask(wrong(5), true), 'block: 5'],
      [() => dirtyMemory.setLogMask('ram', wrong(1)), 'on: 1'],
      [() => dirtyMemory.ranges('migration', wrong(undefined)), 'block: undefined'],
      [() => dirtyMemory.ranges('migration', 'ram', wrong(null)), 'options: null'],
      [() => dirtyMemory.ranges('migration', 'ram', { from: wrong('x') }), "from: 'x'"],
      [
        () =>
          dirtyMemory.readBitmap('migration', 'ram', new BigUint64Array(256), { take: wrong('x') }),
        "take: 'x'",
      ],
      [
        () => dirtyMemory.heat('migration', 'ram', wrong(new Uint8Array(64))),
        'into: not a Uint32Array',
      ],
      [
        () => dirtyMemory.readBitmap('migration', 'ram', wrong(new BigInt64Array(256))),
        'into: not a BigUint64',
      ],
      [
        () => dirtyMemory.readBitmap('migration', 'ram', new BigUint64Array(256), wrong(null)),
        'options: null',
      ],
    ]
    for (const [call, text] of calls) await refused(call, text)
    expect(dirtyMemory.loggingBlocks()).toEqual([])
    // `null` means that there is no signal, as it does in fetch().
    expectTruth(await vm.measureDirtyRate({ window: 20, signal: wrong(null) }))
  })

  it('takes no bit for an array that it cannot fill', async () => {
    const vm = await created()
    const { dirtyMemory } = vm
    await dirtyMemory.startTracking('dirty-rate')
    await dirtyMemory.discardInitialLog()
    await dirtyMemory.clear('dirty-rate')
    await vm.writeMemory(3 * PAGE, new Uint8Array(5 * PAGE))
    const into = wrong(new BigInt64Array(2 ** 16))
    await refused(() => dirtyMemory.readBitmap('dirty-rate', 'ram', into, { take: true }), 'into')
    // One that passes for what it is not, until it is to be filled.
    const forged = Object.create(BigUint64Array.prototype)
    await refused(() => dirtyMemory.readBitmap('dirty-rate', 'ram', forged, { take: true }), 'into')
    expect((await dirtyMemory.reap('dirty-rate')).pages).toBe(5)
  })

  it('has its errors after close() too', async () => {
    const vm = await created()
    await vm.close()
    expect(() => vm.uri).toThrow(
      expect.objectContaining({ name: 'DirtyRateError', code: 'ERR_CLOSED' }),
    )
    await expect(vm.describe()).rejects.toMatchObject({
      name: 'DirtyRateError',
      code: 'ERR_CLOSED',
    })
  })
})

describeKvm('the path of KVM', () => {
  it('is asked for in words that say so', async () => {
    await refused(() => capabilities(wrong(5)), 'path: 5')
  })
})
