/**
 * The words that the binding takes. The facade checks them first, but a caller of the binding
 * itself gets an error that is as good.
 */

import { describe, expect, it } from 'vitest'
import { native } from '../../ts/ground/native.js'

/** Anything at all: these words are not those that the types allow. */
// biome-ignore lint/suspicious/noExplicitAny: so that what the types refuse can be written
type Wrong = any

const MEMORY = 64 * 2 ** 20
const blocks = [{ name: 'ram', guestAddress: 0, bytes: MEMORY }]

/** Builds a guest with one option of another value. */
const build = (options: Wrong): unknown =>
  new (native().NativeGuestProgram)({ kind: 'stride', pages: 1, vcpus: 1, ...options }, [
    { guestAddress: 0, bytes: MEMORY },
  ])

/** Makes a VM with one option of another value. The words are read before anything else is done. */
const create = (options: Wrong): unknown =>
  native().NativeVirtualMachine.create({ blocks, vcpus: 1, ...options })

describe('a word that the binding does not know', () => {
  const cases: [name: string, call: () => unknown, text: string][] = [
    [
      'workload',
      () => build({ kind: 'hotcold' }),
      "no workload 'hotcold': use stride, random, hot-cold, silent or idle",
    ],
    ['sharing', () => build({ sharing: 'none' }), "no sharing 'none': use split or shared"],
    [
      'placement',
      () => build({ placement: 'low' }),
      "no placement 'low': use packed, spread or even",
    ],
    ['pacing', () => build({ pacing: 'slow' }), "no pacing 'slow': use free, granted or clock"],
    [
      'manual protect',
      () => create({ manualProtect: 'initiallySet' }),
      "no manual protect 'initiallySet': use none, enable or initially-set",
    ],
    [
      'unknown MMIO',
      () => create({ unknownMmio: 'Stop' }),
      "no policy for unknown MMIO 'Stop': use auto, stop or ignore",
    ],
    [
      'reaper',
      () => create({ reaper: 'never', ringEntries: 1024 }),
      "no reaper 'never': use run, watermark or hold",
    ],
    [
      'log level',
      () => native().addLog('loud' as Wrong, () => {}),
      "no log level 'loud': use error, warn",
    ],
  ]
  it.each(cases)('is refused with the words that there are: %s', (_, call, text) => {
    expect(call).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT', message: expect.stringContaining(text) }),
    )
  })

  it.each([
    [
      'a client',
      (vm: Wrong) => vm.reap('rate'),
      "no dirty memory client 'rate': use vga, code, migration or",
    ],
    [
      'an interval',
      (vm: Wrong) => vm.sampleAt({ interval: 'wald' }, [1]),
      "no interval 'wald': use wilson or clopper-pearson",
    ],
    [
      'a design',
      (vm: Wrong) => vm.sampleAt({ design: 'all' }, [1]),
      "no design 'all': use stratified or simple-random",
    ],
  ])('is refused by a VM: %s', async (_, call, text) => {
    const vm = await native().NativeVirtualMachine.create({ blocks, vcpus: 1 })
    try {
      expect(() => call(vm)).toThrow(
        expect.objectContaining({ code: 'ERR_ARGUMENT', message: expect.stringContaining(text) }),
      )
    } finally {
      await vm.close()
    }
  })
})

it('says a pace that cannot be kept as the core does', () => {
  const pace =
    (options: object): (() => unknown) =>
    () =>
      build(options)
  expect(pace({ pacing: 'clock' })).toThrow('a guest that is paced by its clock needs a rate')
  expect(pace({ pacing: 'free', bytesPerSecond: 1 })).toThrow(
    'a guest that runs freely has no rate',
  )
  expect(pace({ bytesPerSecond: -1 })).toThrow('a rate of -1 bytes per second: give a positive one')
})

it('gives its words as strings', async () => {
  expect(['none', 'enable', 'initially-set']).toContain(
    native().capabilities().manualDirtyLogProtect,
  )
  const vm = await native().NativeVirtualMachine.create({ blocks, vcpus: 1, manualProtect: 'none' })
  expect([vm.state, vm.dirtyLog, vm.manualProtect()]).toEqual(['created', 'bitmap', 'none'])
  await vm.close()
  expect(vm.state).toBe('closed')
})
