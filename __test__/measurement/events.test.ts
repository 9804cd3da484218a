import { describe, expect, it, onTestFinished } from 'vitest'
import { type MeasurementEvents, type VirtualMachine, workload } from '../../ts/index.js'
import { Emitter } from '../../ts/measurement/events.js'
import { describeKvm } from '../fixtures/kvm.js'
import { created, running, sleep } from '../fixtures/machine.js'

const names = ['start', 'done', 'incomplete', 'failed'] as const

/** What is told, as `name by` in its order, and the events themselves. */
function listen(vm: VirtualMachine): {
  told: string[]
  events: MeasurementEvents[keyof MeasurementEvents][]
} {
  const told: string[] = []
  const events: MeasurementEvents[keyof MeasurementEvents][] = []
  for (const name of names)
    vm.on(name, event => {
      told.push(`${name} ${event.by}`)
      events.push(event)
    })
  return { told, events }
}

describe('an emitter', () => {
  it('calls each listener until it is taken away', () => {
    const emitter = new Emitter<{ tick: number }>()
    const seen: number[] = []
    const listener = (value: number): void => void seen.push(value)
    const first = emitter.on('tick', listener)
    const second = emitter.on('tick', listener)
    emitter.emit('tick', 1)
    first()
    first()
    emitter.emit('tick', 2)
    second()
    emitter.emit('tick', 3)
    expect(seen).toEqual([1, 1, 2])
  })

  it('keeps a listener that throws from the others, and throws for it later', async () => {
    const emitter = new Emitter<{ tick: number }>()
    const before = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    onTestFinished(() => {
      for (const listener of before) process.on('uncaughtException', listener)
    })
    const thrown = new Promise(resolve => process.once('uncaughtException', resolve))
    const seen: number[] = []
    emitter.on('tick', () => {
      throw new Error('a listener')
    })
    emitter.on('tick', value => void seen.push(value))
    emitter.emit('tick', 1)
    expect(seen).toEqual([1])
    expect(await thrown).toMatchObject({ message: 'a listener' })
  })
})

describeKvm("a VM's events", () => {
  it('tell the beginning of each measurement, and its one end', async () => {
    const vm = await running(workload.stride({ pages: 500 }))
    const { told, events } = listen(vm)
    const measurement = await vm.measureDirtyRate({ window: 10 })
    const curve = await vm.measureDirtyCurve({ windows: [10, 5] })
    for await (const _ of vm.watchDirtyRate({ every: 5 })) break
    await vm.calcDirtyRate({
      'calc-time': 50,
      'calc-time-unit': 'millisecond',
      mode: 'dirty-bitmap',
    })
    while ((await vm.queryDirtyRate()).status === 'measuring') await sleep(5)
    expect(told).toEqual(
      ['measure', 'curve', 'watch', 'calc'].flatMap(by => [`start ${by}`, `done ${by}`]),
    )
    expect(events.map(({ id }) => id)).toEqual([1, 1, 2, 2, 3, 3, 4, 4])
    expect(events[0]).toEqual({
      id: 1,
      by: 'measure',
      mode: 'dirty-bitmap',
      windowsMs: [10],
      startedAt: expect.stringMatching(/Z$/),
    })
    expect(events[1]).toMatchObject({ ...events[0], result: measurement })
    expect(events[3]).toMatchObject({ windowsMs: [5, 10], result: curve })
  })

  it('tell a failure, and are told nothing of a call that was refused', async () => {
    const vm = await running(workload.stride({ pages: 500 }))
    const { told, events } = listen(vm)
    await expect(vm.measureDirtyRate({ window: 0 })).rejects.toMatchObject({ code: 'ERR_ARGUMENT' })
    const reason = new Error('mine')
    const controller = new AbortController()
    const aborted = vm.measureDirtyRate({ window: '1h', signal: controller.signal })
    setTimeout(() => controller.abort(reason), 20)
    await expect(aborted).rejects.toBe(reason)
    const paused = expect(vm.measureDirtyRate({ window: '1h' })).rejects.toMatchObject({
      code: 'ERR_PAUSED',
    })
    await vm.pause()
    await paused
    expect(told).toEqual(['start measure', 'failed measure', 'start measure', 'failed measure'])
    expect(events[1]).toMatchObject({ error: reason })
    expect(events[3]).toMatchObject({ error: { code: 'ERR_PAUSED' } })
  })

  it('tell of a loop over a watch that was left within a round, and why that round has no result', async () => {
    const vm = await running(workload.stride({ pages: 500 }))
    const { told, events } = listen(vm)
    const rounds = vm.watchDirtyRate({ every: '1h' })
    const next = rounds.next()
    await sleep(50)
    await rounds.return?.()
    expect(await next).toEqual({ done: true, value: undefined })
    expect(told).toEqual(['start watch', 'failed watch'])
    expect(events[1]).toMatchObject({ error: { code: 'ERR_CANCELLED', hint: expect.any(String) } })
  })

  it('have no other name', async () => {
    const vm = await created()
    expect(() => vm.on('error' as never, () => {})).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT' }),
    )
  })
})

describeKvm("a VM's history", () => {
  it('has its last results, those of a watch and of a job too, and no failure', async () => {
    const vm = await running(workload.stride({ pages: 500 }), { historySize: 4 })
    const seen: unknown[] = []
    vm.on('done', ({ by, result }) => by !== 'curve' && seen.push(result))
    expect(vm.history).toEqual([])
    for (let round = 0; round < 2; round++) await vm.measureDirtyRate({ window: 2 })
    await vm.measureDirtyCurve({ windows: [2] })
    await expect(vm.measureDirtyRate({ signal: AbortSignal.timeout(10) })).rejects.toBeDefined()
    let rounds = 0
    for await (const _ of vm.watchDirtyRate({ every: 2 })) if (++rounds === 3) break
    await vm.calcDirtyRate({
      'calc-time': 50,
      'calc-time-unit': 'millisecond',
      mode: 'dirty-bitmap',
    })
    while ((await vm.queryDirtyRate()).status === 'measuring') await sleep(5)
    expect(seen).toHaveLength(6)
    expect(vm.history).toEqual(seen.slice(-4))
    vm.history.pop()
    expect(vm.history).toHaveLength(4)
  })
})
