/**
 * The listener to the events of the core and of the facade: their order, bursts, and what a
 * listener misses that takes no events.
 */

import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { expect, it, onTestFinished } from 'vitest'
import type * as Package from '../../ts/index.js'
import { type LogEvent, setLog, workload } from '../../ts/index.js'
import { root } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'
import { running } from '../fixtures/machine.js'

/**
 * Six GiB, one page in sixteen: more at one time than the native queue has room for. Next to
 * nothing of it exists.
 */
const memory = '6GiB'
const sampling = { mode: 'page-sampling', samplePages: 16_384, window: 1 } as const
const SAMPLES = 6 * 16_384

interface Heard {
  looks: number
  changes: number
  /** Events that are said to be missing, and by how many lines that was said. */
  dropped: number
  lines: number
  last: LogEvent | undefined
}

/** Keeps the event loop from turning. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

function listen(): Heard {
  const heard: Heard = { looks: 0, changes: 0, dropped: 0, lines: 0, last: undefined }
  setLog('trace', event => {
    if (event.message === 'get_ramblock_vfn_hash') heard.looks++
    if (event.message === 'calc_page_dirty_rate') heard.changes++
    if (event.message === 'events dropped') {
      heard.dropped += Number(event.fields.events)
      heard.lines++
    }
    heard.last = event
  })
  onTestFinished(() => setLog('off', null))
  return heard
}

describeKvm('a listener', () => {
  it('gets every event of a burst, before what comes of it', async () => {
    const vm = await running(workload.stride({ pages: 500 }), { memory })
    const heard = listen()
    const { sampling: sampled } = await vm.measureDirtyRate(sampling)
    // All of them are here by now: not one comes later.
    expect(heard).toMatchObject({
      looks: 2 * SAMPLES,
      changes: sampled?.hits,
      dropped: 0,
      lines: 0,
    })
    expect(sampled?.samples).toBe(SAMPLES)
    expect(heard.last).toMatchObject({ level: 'debug', message: 'measurement done' })
  })

  it('gets what the core has told before what comes of it, though it is woken later', async () => {
    const vm = await running(workload.idle())
    const measured = vm.measureDirtyRate({
      mode: 'page-sampling',
      samplePages: 16_384,
      window: 200,
    })
    const messages: string[] = []
    // Its wake-up is younger than the promise, which Node settles first, then: both wait for the
    // event loop.
    setLog('trace', ({ message }) => messages.push(message))
    onTestFinished(() => setLog('off', null))
    standStill(1000)
    await measured
    const looks = messages.lastIndexOf('get_ramblock_vfn_hash')
    expect(looks).toBeGreaterThanOrEqual(0)
    expect(messages.indexOf('dirtyrate_calculate')).toBeGreaterThan(looks)
    await new Promise(setImmediate)
    expect(messages.lastIndexOf('get_ramblock_vfn_hash')).toBe(looks)
  })

  it('that does not listen holds nothing up for long, and is told what it missed', async () => {
    const vm = await running(workload.idle(), { memory })
    const heard = listen()
    const measured = vm.measureDirtyRate(sampling)
    // The event loop stands still, longer than the core waits.
    standStill(7000)
    const { sampling: sampled } = await measured
    expect(heard.dropped).toBeGreaterThan(0)
    expect(heard.looks + heard.changes + heard.dropped).toBe(
      2 * SAMPLES + (sampled?.hits ?? Number.NaN),
    )
    expect(heard.lines).toBe(1)
  })

  it('that throws does so on its own, and misses nothing', async () => {
    const vm = await running(workload.idle())
    const thrown: unknown[] = []
    const others = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', error => thrown.push(error))
    onTestFinished(() => {
      process.removeAllListeners('uncaughtException')
      for (const other of others) process.on('uncaughtException', other)
    })
    let looks = 0
    setLog('trace', ({ message }) => {
      if (message !== 'get_ramblock_vfn_hash') return
      looks++
      if (looks <= 2) throw new Error('mine')
    })
    onTestFinished(() => setLog('off', null))
    const { sampling: sampled } = await vm.measureDirtyRate(sampling)
    expect(looks).toBe(2 * (sampled?.samples ?? Number.NaN))
    expect(thrown).toEqual([new Error('mine'), new Error('mine')])
  })

  it('gets what happened while it listened, and nothing after', async () => {
    const vm = await running(workload.idle())
    const events: LogEvent[] = []
    setLog('debug', event => events.push(event))
    await vm.measureDirtyRate(sampling)
    // Level debug: nothing of level trace.
    expect(events.map(({ level }) => level)).toEqual(events.map(() => 'debug'))
    const { length } = events
    expect(length).toBeGreaterThan(0)
    setLog('off', null)
    await vm.measureDirtyRate(sampling)
    expect(events).toHaveLength(length)
  })

  it('ends at once when it ends itself', async () => {
    const vm = await running(workload.idle())
    let heard = 0
    setLog('trace', ({ message }) => {
      if (message === 'get_ramblock_vfn_hash' && ++heard === 3) setLog('off', null)
    })
    onTestFinished(() => setLog('off', null))
    await vm.measureDirtyRate({ ...sampling, samplePages: 512 })
    expect(heard).toBe(3)
  })

  it('hears what its own calls cause after what came before, and keeps no event loop from turning', async () => {
    const vm = await running(workload.idle())
    const messages: string[] = []
    let turned = false
    setLog('trace', ({ message }) => {
      messages.push(message)
      // Each of these calls is an event too, and a call of the listener more, until the loop has
      // turned.
      if (!turned) vm.queryDirtyRate().catch(() => {})
    })
    onTestFinished(() => setLog('off', null))
    const turn = new Promise<void>(resolve => setImmediate(resolve))
    await vm.measureDirtyRate({ ...sampling, samplePages: 512 })
    await turn
    turned = true
    while (!messages.includes('measurement done')) await new Promise(setImmediate)
    const order = [
      'measurement began',
      'get_ramblock_vfn_hash',
      'dirtyrate_calculate',
      'measurement done',
    ]
    const at = order.map(message => messages.indexOf(message))
    expect(at).toEqual([...at].sort((a, b) => a - b))
    expect(at).not.toContain(-1)
    expect(messages).toContain('query_dirty_rate_info')
  })

  it('hears everything beside another copy of the package, and after that copy has ended', async () => {
    const other = (await import('../../dist/index.js')) as unknown as typeof Package
    const vm = await running(workload.idle())
    const looks = { mine: 0, others: 0 }
    setLog('trace', ({ message }) => message === 'get_ramblock_vfn_hash' && looks.mine++)
    other.setLog('trace', ({ message }) => message === 'get_ramblock_vfn_hash' && looks.others++)
    onTestFinished(() => {
      setLog('off', null)
      other.setLog('off', null)
    })
    const first = await vm.measureDirtyRate(sampling)
    await new Promise(setImmediate)
    const samples = 2 * (first.sampling?.samples ?? Number.NaN)
    expect(looks).toEqual({ mine: samples, others: samples })
    other.setLog('off', null)
    const second = await vm.measureDirtyRate(sampling)
    expect(looks).toEqual({
      mine: samples + 2 * (second.sampling?.samples ?? Number.NaN),
      others: samples,
    })
  })

  it('is not disturbed by a worker that listened and has ended', async () => {
    const vm = await running(workload.idle())
    const program = `
      import { setLog } from './index.js'
      import { parentPort } from 'node:worker_threads'
      setLog('trace', () => {})
      parentPort.postMessage('listens')`
    const file = join(root, 'dist', `worker-${process.pid}.mjs`)
    writeFileSync(file, program)
    onTestFinished(() => rmSync(file, { force: true }))
    let looks = 0
    setLog('trace', ({ message }) => message === 'get_ramblock_vfn_hash' && looks++)
    onTestFinished(() => setLog('off', null))
    const worker = new Worker(file)
    await once(worker, 'message')
    await worker.terminate()
    const { sampling: sampled } = await vm.measureDirtyRate(sampling)
    expect(looks).toBe(2 * (sampled?.samples ?? Number.NaN))
  })
})
