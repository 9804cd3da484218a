/**
 * Every call reads what it was given before it returns its promise: a caller may change its objects
 * after that.
 */

import { expect, it } from 'vitest'
import { openTarget, VirtualMachine, workload } from '../ts/index.js'
import { describeKvm } from './fixtures/kvm.js'
import { created, MEMORY, running } from './fixtures/machine.js'

/**
 * `given` with each object and array in it replaced by one that writes down when it is read after
 * `close()`.
 */
function watched<T extends object>(given: T): { given: T; close(): void; late: string[] } {
  const late: string[] = []
  let closed = false
  const wrap = <V>(value: V, path: string): V => {
    const isPlain = Array.isArray(value) || Object.getPrototypeOf(value ?? 0) === Object.prototype
    if (!isPlain) return value
    return new Proxy(value as V & object, {
      get(target, key) {
        if (closed) late.push(`${path}.${String(key)}`)
        return wrap(Reflect.get(target, key), `${path}.${String(key)}`)
      },
    })
  }
  return {
    given: wrap(given, 'given'),
    close: () => {
      closed = true
    },
    late,
  }
}

/** What `call` reads of `given` after it has returned its promise. */
async function readLate<T extends object>(
  given: T,
  call: (given: T) => Promise<unknown>,
): Promise<string[]> {
  const seen = watched(given)
  const promise = call(seen.given)
  seen.close()
  await promise
  return seen.late
}

const TWO_BLOCKS = [
  { name: 'a', guestAddress: 0, bytes: MEMORY },
  { name: 'b', guestAddress: '8GiB', bytes: MEMORY },
]

describeKvm('what a caller gives', () => {
  it('to create() is read once', async () => {
    const options = {
      memory: TWO_BLOCKS,
      vcpus: 2,
      dirtyLog: 'bitmap' as const,
      historySize: 3,
      manualProtect: 'none' as const,
      unknownMmio: 'stop' as const,
      clearChunk: '1MiB',
    }
    const close = async (making: Promise<VirtualMachine>): Promise<void> => (await making).close()
    expect(await readLate(options, given => close(VirtualMachine.create(given)))).toEqual([])
    const rings = { memory: MEMORY, dirtyLog: { ringEntries: 1024 } }
    expect(await readLate(rings, given => close(VirtualMachine.create(given)))).toEqual([])
  })

  it('to create(), and is changed after the call, makes no other VM', async () => {
    const options = { memory: MEMORY, clearChunk: '1MiB' }
    const making = VirtualMachine.create(options)
    options.clearChunk = 'nonsense'
    const vm = await making
    expect(vm.uri).toBe(`vm:memory=${MEMORY},vcpus=1,clear-chunk=1MiB`)
    await vm.close()
  })

  it('to load(), and is changed after the call, loads no other guest', async () => {
    const vm = await created()
    const mine = { ...workload.stride({ pages: 100 }) }
    const loading = vm.load(mine)
    Object.assign(mine, { kind: 'random', pages: 5 })
    await loading
    expect(vm.uri).toMatch(/^guest:stride,pages=100,/)
    Object.assign(mine, { pages: 6 })
    expect(vm.workload?.workload).toEqual(workload.stride({ pages: 100 }))
    expect(Object.isFrozen(vm.workload?.workload)).toBe(true)
  })

  it('to every other call is read once', async () => {
    const vm = await running(workload.stride({ pages: 100 }))
    const empty = await created()
    const { dirtyMemory } = vm
    const close = async (opening: Promise<{ close(): Promise<void> }>): Promise<void> =>
      (await opening).close()
    const late = {
      openTarget: await readLate({ mode: 'dirty-bitmap' as const }, given =>
        close(openTarget('guest:idle', given)),
      ),
      load: await readLate({ ...workload.random({ pages: 9, seed: 3 }) }, given =>
        empty.load(given),
      ),
      measure: await readLate(
        { window: '10ms', mode: 'page-sampling' as const, samplePages: 256 },
        given => vm.measureDirtyRate(given),
      ),
      curve: await readLate({ windows: ['5ms', '10ms'], mode: 'dirty-bitmap' as const }, given =>
        vm.measureDirtyCurve(given),
      ),
      watch: await readLate({ every: '10ms', mode: 'dirty-bitmap' as const }, async given => {
        for await (const _ of vm.watchDirtyRate(given)) break
      }),
      calc: await readLate({ 'calc-time': 50, 'calc-time-unit': 'millisecond' as const }, given =>
        vm.calcDirtyRate(given),
      ),
      query: await readLate({ 'calc-time-unit': 'millisecond' as const }, given =>
        vm.queryDirtyRate(given),
      ),
      addBlock: await readLate({ name: 'more', guestAddress: '8GiB', bytes: MEMORY }, given =>
        vm.addBlock(given),
      ),
      startTracking: await readLate({}, () => dirtyMemory.startTracking('migration')),
      sync: await readLate({ signal: undefined }, given => dirtyMemory.sync(given)),
      clear: await readLate({}, () => dirtyMemory.clear('migration')),
      syncAt: await readLate(['5ms', '10ms'], given => dirtyMemory.syncAt('migration', given)),
      readBitmap: await readLate({ take: false }, given =>
        dirtyMemory.readBitmap('migration', 'more', new BigUint64Array(2 ** 14 / 64), given),
      ),
      ranges: await readLate({ from: 0, limit: 5 }, given =>
        dirtyMemory.ranges('migration', 'ram', given),
      ),
    }
    expect(late).toEqual(Object.fromEntries(Object.keys(late).map(name => [name, []])))
  })
})
