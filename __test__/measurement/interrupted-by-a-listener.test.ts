/**
 * A measurement that has its result keeps it, whatever a listener does that hears of it: event,
 * history and promise say the same.
 */

import { expect, it } from 'vitest'
import { setLog, type VirtualMachine, workload } from '../../ts/index.js'
import { describeKvm } from '../fixtures/kvm.js'
import { running } from '../fixtures/machine.js'

/** The names of all events of `vm`, as they come. */
function eventsOf(vm: VirtualMachine): string[] {
  const events: string[] = []
  for (const name of ['start', 'done', 'incomplete', 'failed'] as const)
    vm.on(name, () => events.push(name))
  return events
}

describeKvm('a listener that hears of a result', () => {
  it.each(['close', 'pause', 'shutdown'] as const)('may call %s()', async how => {
    const vm = await running(workload.stride({ pages: 100 }))
    const events = eventsOf(vm)
    let ended: Promise<void> | undefined
    vm.on('done', () => {
      ended ??= vm[how]()
    })
    const result = await vm.measureDirtyRate({ window: '10ms' })
    await ended
    expect(events).toEqual(['start', 'done'])
    expect(vm.history).toEqual([result])
  })

  it('may close the VM of a curve', async () => {
    const vm = await running(workload.stride({ pages: 100 }))
    vm.on('done', () => void vm.close())
    const { points } = await vm.measureDirtyCurve({ windows: ['10ms', '100ms'] })
    expect(points.at(-1)?.requestedMs).toBe(100)
  })

  it.each([
    ['pause', 'ERR_PAUSED'],
    ['close', 'ERR_CLOSED'],
  ] as const)('may %s the VM of a watch, whose loop has that round', async (how, code) => {
    const vm = await running(workload.stride({ pages: 100 }))
    const events = eventsOf(vm)
    let ended: Promise<void> | undefined
    vm.on('done', () => {
      ended ??= vm[how]()
    })
    const watch = vm.watchDirtyRate({ every: '10ms' })
    const { value } = await watch.next()
    expect(vm.history).toEqual([value])
    await ended
    await expect(watch.next()).rejects.toMatchObject({ code })
    expect(events).toEqual(['start', 'done'])
  })

  it('hears of it by a log too', async () => {
    const vm = await running(workload.stride({ pages: 100 }))
    const events = eventsOf(vm)
    setLog('trace', ({ message }) => {
      if (message === 'measurement done') void vm.close()
    })
    const result = await vm.measureDirtyRate({ window: '10ms' }).finally(() => setLog('off', null))
    expect(events).toEqual(['start', 'done'])
    expect(vm.history).toEqual([result])
  })

  it('cannot change the event that others hear', async () => {
    const vm = await running(workload.stride({ pages: 100 }))
    const frozen: boolean[] = []
    vm.on('start', event => frozen.push(Object.isFrozen(event)))
    vm.on('done', event => frozen.push(Object.isFrozen(event)))
    vm.on('failed', event => frozen.push(Object.isFrozen(event)))
    vm.onStateChange(change => frozen.push(Object.isFrozen(change)))
    await vm.measureDirtyRate({ window: '10ms' })
    const ended = expect(vm.measureDirtyRate({ window: '1s' })).rejects.toMatchObject({
      code: 'ERR_CLOSED',
    })
    await vm.close()
    await ended
    // start, done, start, failed, closed
    expect(frozen).toEqual([true, true, true, true, true])
  })
})
