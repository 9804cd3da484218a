/**
 * Calls that are not awaited take effect in the order in which they were made. This tests the queue
 * alone, and compares real VMs with a model.
 */

import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CallOrder } from '../../ts/ground/call-order.js'
import { type VirtualMachine, workload } from '../../ts/index.js'
import { describeKvm, full } from '../fixtures/kvm.js'
import { created, PAGE, running, sleep } from '../fixtures/machine.js'

/** Node's collector, which is asked for by a flag. */
function collector(): () => void {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as () => void
}

describe('an order of calls', () => {
  it('keeps nothing of the calls that are over', async () => {
    const gc = collector()
    const order = new CallOrder()
    const results: WeakRef<object>[] = []
    for (let call = 0; call < 3; call++)
      results.push(new WeakRef(await order.run(async () => ({ call }))))
    await order.run(async () => undefined)
    // A reference that was just made is not collected within the same turn of the event loop.
    await setImmediate()
    gc()
    expect(results.map(result => result.deref())).toEqual([undefined, undefined, undefined])
  })

  it('makes each call after the ones before it, whatever became of them', async () => {
    const order = new CallOrder()
    const seen: string[] = []
    const call = (name: string, ms: number, fails = false) =>
      order.run(async () => {
        seen.push(`${name} begins`)
        await sleep(ms)
        seen.push(`${name} ends`)
        if (fails) throw new Error(name)
        return name
      })
    const calls = [call('a', 20), call('b', 5, true), call('c', 0)]
    expect(await Promise.allSettled(calls)).toMatchObject([
      { value: 'a' },
      { reason: new Error('b') },
      { value: 'c' },
    ])
    expect(seen).toEqual(['a', 'b', 'c'].flatMap(name => [`${name} begins`, `${name} ends`]))
  })

  it('lets a call that only looks hold up none after it', async () => {
    const order = new CallOrder()
    const seen: string[] = []
    const first = order.run(() => sleep(10).then(() => seen.push('change')))
    let end = (): void => {}
    const looking = order.after(() =>
      new Promise<void>(resolve => (end = resolve)).then(() => seen.push('look')),
    )
    await order.run(async () => seen.push('next'))
    end()
    await Promise.all([first, looking])
    expect(seen).toEqual(['change', 'next', 'look'])
  })

  it('rejects with what a call throws at once, with a signal too, and goes on', async () => {
    const order = new CallOrder()
    const throws = (): Promise<never> => {
      throw new Error('at once')
    }
    const { signal } = new AbortController()
    const calls = [
      order.run(throws),
      order.run(throws, signal),
      order.after(throws, signal),
      order.run(async () => 'next'),
    ]
    const error = { status: 'rejected', reason: new Error('at once') }
    expect(await Promise.allSettled(calls)).toEqual([
      error,
      error,
      error,
      { status: 'fulfilled', value: 'next' },
    ])
  })

  it('is left at once by an abort, and the call is not made, nor is the next one early', async () => {
    const order = new CallOrder()
    const seen: string[] = []
    let end = (): void => {}
    const first = order.run(() =>
      new Promise<void>(resolve => (end = resolve)).then(() => seen.push('first')),
    )
    const controller = new AbortController()
    const aborted = order.run(async () => seen.push('aborted'), controller.signal)
    const last = order.run(async () => seen.push('last'))
    controller.abort('mine')
    await expect(aborted).rejects.toBe('mine')
    expect(seen).toEqual([])
    end()
    await Promise.all([first, last])
    expect(seen).toEqual(['first', 'last'])
    await expect(order.run(async () => 1, controller.signal)).rejects.toBe('mine')
  })
})

/**
 * What a program may call, and what that does to a model of the client DIRTY_RATE and of the log.
 */
interface Model {
  tracking: Set<string>
  /** Pages that are dirty for DIRTY_RATE. */
  dirty: Set<number>
  running: boolean
}
const clients = ['dirty-rate', 'migration'] as const
type Step =
  | { call: 'start' | 'stop' | 'clear' | 'take'; client: (typeof clients)[number] }
  | { call: 'write'; page: number }
  | { call: 'pause' | 'resume' | 'measure' | 'reap' }

const steps = fc.array(
  fc.oneof(
    fc.record({
      call: fc.constantFrom('start' as const, 'stop' as const, 'clear' as const, 'take' as const),
      client: fc.constantFrom(...clients),
    }),
    fc.record({ call: fc.constant('write' as const), page: fc.nat({ max: 63 }) }),
    fc.record({ call: fc.constantFrom('pause' as const, 'resume' as const, 'measure' as const) }),
  ),
  { minLength: 2, maxLength: 24 },
)

/**
 * Makes the calls without awaiting any but at the end; what each answers, and what the model says
 * that it answers.
 */
async function perform(
  vm: VirtualMachine,
  model: Model,
  calls: readonly Step[],
  base: number,
): Promise<void> {
  const { dirtyMemory } = vm
  const pending: Promise<void>[] = []
  for (const step of calls) {
    switch (step.call) {
      case 'start':
        if (step.client === 'dirty-rate' && !model.tracking.has(step.client)) model.dirty.clear()
        model.tracking.add(step.client)
        pending.push(dirtyMemory.startTracking(step.client).then(() => {}))
        // What the host writes from here on is dirty; what was before is of no window of this
        // client's.
        if (step.client === 'dirty-rate') {
          model.dirty.clear()
          pending.push(
            dirtyMemory.discardInitialLog().then(() => {}),
            dirtyMemory.clear('dirty-rate'),
          )
        }
        break
      case 'stop':
        model.tracking.delete(step.client)
        pending.push(dirtyMemory.stopTracking(step.client))
        break
      case 'clear':
        if (step.client === 'dirty-rate') model.dirty.clear()
        pending.push(dirtyMemory.clear(step.client))
        break
      case 'take': {
        const expected = model.dirty.size
        const { client } = step
        if (client === 'dirty-rate') model.dirty.clear()
        pending.push(
          dirtyMemory.take(client).then(({ pages }) => {
            if (client === 'dirty-rate') expect(pages).toBe(expected)
          }),
        )
        break
      }
      case 'write':
        if (model.tracking.has('dirty-rate')) model.dirty.add(step.page)
        pending.push(vm.writeMemory(base + step.page * PAGE, Uint8Array.of(1)))
        break
      case 'pause':
        model.running = false
        pending.push(vm.pause())
        break
      case 'resume':
        model.running = true
        pending.push(vm.resume())
        break
      case 'measure': {
        // With the client in the user's hands it has an accumulator of its own; without, the next
        // call may find it measuring.
        if (!model.tracking.has('dirty-rate')) break
        const refused = ['ERR_PAUSED', 'ERR_STATE']
        const measured = vm.measureDirtyRate({ window: 1 })
        pending.push(
          measured.then(
            () => {},
            ({ code }) => expect(refused).toContain(code),
          ),
        )
        break
      }
    }
  }
  await Promise.all(pending)
}

describeKvm('calls that nobody awaits', () => {
  it('take effect in their order, whatever their threads do', async () => {
    // A guest that writes nothing: every dirty page is the host's.
    const vm = await running(workload.idle(), {
      memory: [
        { name: 'ram', guestAddress: 0, bytes: '64MiB' },
        { name: 'quiet', guestAddress: '1GiB', bytes: '4MiB' },
      ],
    })
    const model: Model = { tracking: new Set(), dirty: new Set(), running: true }
    await fc.assert(
      fc.asyncProperty(steps, async calls => {
        await perform(vm, model, calls, 2 ** 30)
        for (const client of clients) {
          expect(vm.dirtyMemory.isTracking(client)).toBe(model.tracking.has(client))
        }
        expect((await vm.dirtyMemory.reap('dirty-rate')).pages).toBe(model.dirty.size)
        expect(vm.state).toBe(model.running ? 'running' : 'paused')
      }),
      { numRuns: full ? 2000 : 60 },
    )
  })

  it("keep a user's bits when tracking is stopped and started again, and a measurement follows", async () => {
    const vm = await running(workload.idle())
    const { dirtyMemory } = vm
    for (let round = 0; round < 24; round++) {
      await dirtyMemory.startTracking('dirty-rate')
      await Promise.all([
        dirtyMemory.stopTracking('dirty-rate'),
        dirtyMemory.startTracking('dirty-rate'),
      ])
      await dirtyMemory.discardInitialLog()
      await dirtyMemory.clear('dirty-rate')
      await vm.writeMemory(8 * 2 ** 20, new Uint8Array(5 * PAGE))
      await vm.measureDirtyRate({ window: 1 })
      expect((await dirtyMemory.reap('dirty-rate')).pages).toBeGreaterThanOrEqual(5)
      await dirtyMemory.stopTracking('dirty-rate')
    }
  })

  it('make a VM, load it, start it, and change its blocks', async () => {
    const vm = await created()
    const block = { name: 'dimm', guestAddress: '1GiB', bytes: '4MiB' }
    const calls = [
      vm.load(workload.stride({ pages: 100 })),
      vm.start(),
      vm.addBlock(block),
      vm.writeMemory(2 ** 30, Uint8Array.of(1)),
      vm.removeBlock('dimm'),
      vm.addBlock(block),
      vm.pause(),
      vm.resume(),
    ]
    await Promise.all(calls)
    expect(vm.state).toBe('running')
    expect(vm.blocks.map(({ name }) => name)).toContain('dimm')
  })

  it('do not keep shutdown() or close() waiting', async () => {
    const vm = await running(workload.idle())
    const { dirtyMemory } = vm
    await dirtyMemory.startTracking('dirty-rate')
    const waiting = dirtyMemory.syncAt('dirty-rate', ['1h'])
    const refused = expect(waiting).rejects.toMatchObject({ code: 'ERR_STATE' })
    await vm.shutdown()
    await refused
    const calls = [vm.resume(), dirtyMemory.sync(), vm.close(), dirtyMemory.clear('migration')]
    const [resumed, , closed, cleared] = await Promise.allSettled(calls)
    expect(resumed).toMatchObject({ status: 'rejected' })
    expect(closed).toMatchObject({ status: 'fulfilled' })
    expect(cleared).toMatchObject({ reason: { code: 'ERR_CLOSED' } })
  })
})
