/**
 * The package in a realm that is not the one of its binding, as in Jest, in vitest's `vmThreads`
 * and in `node:vm`: there `Error` and `Promise` are others than those of what the binding throws
 * and returns.
 */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { createContext, Script } from 'node:vm'
import { expect, it, onTestFinished } from 'vitest'
import type * as Package from '../ts/index.js'
import { root } from './fixtures/command.js'
import { describeKvm } from './fixtures/kvm.js'
import { PAGE } from './fixtures/machine.js'

/**
 * A realm with the globals of ECMAScript only: none that Node adds, such as `process` or
 * `setTimeout`.
 */
const context = createContext({})

/** Runs `source` as a CommonJS module of `file` in the other realm. */
function inContext(file: string, source: string): unknown {
  const run = new Script(
    `(function (exports, require, module, __filename, __dirname) {${source}\n})`,
    {
      filename: file,
    },
  ).runInContext(context)
  const module = { exports: {} }
  run(module.exports, createRequire(file), module, file, dirname(file))
  return module.exports
}

const file = join(root, 'dist/index.cjs')
const exported = inContext(file, readFileSync(file, 'utf8')) as typeof Package
const { DirtyRateError, VirtualMachine, workload } = exported

/** A program of the other realm: a function of its arguments. */
function program<T>(parameters: string, body: string): (...given: unknown[]) => Promise<T> {
  const source = `module.exports = async (${parameters}) => {${body}}`
  return inContext(join(root, 'program.cjs'), source) as (...given: unknown[]) => Promise<T>
}

it('the other realm has errors of its own', () => {
  expect(new DirtyRateError('ERR_STATE', 'x')).not.toBeInstanceOf(Error)
})

describeKvm('in another realm', () => {
  it('a failure has its class, code and hint', async () => {
    const vm = await VirtualMachine.create({ memory: '64MiB' })
    await vm.load(workload.idle())
    await vm.start()
    const errors = [
      await vm.start().catch(error => error),
      await vm.dirtyMemory.setLogMask('no such block', true).catch(error => error),
    ]
    await vm.close()
    try {
      vm.blocks
    } catch (error) {
      errors.push(error)
    }
    expect(errors.map(({ code }) => code)).toEqual(['ERR_STATE', 'ERR_ARGUMENT', 'ERR_CLOSED'])
    for (const error of errors) {
      expect(error).toBeInstanceOf(DirtyRateError)
      expect(error).toMatchObject({ name: 'DirtyRateError', hint: expect.stringMatching(/\.$/) })
    }
  })

  it('a loop over the console can be left, and so can one over a watch', async () => {
    const vm = await VirtualMachine.create({ memory: '64MiB' })
    await vm.load(workload.idle())
    await vm.start()
    const leave = program<string>(
      'vm, later',
      `const console = vm.console[Symbol.asyncIterator]()
       const waiting = console.next()
       await later(20)
       await console.return()
       const { done } = await waiting
       for await (const { complete } of vm.watchDirtyRate({ every: 20 })) return done + ' ' + complete`,
    )
    expect(await leave(vm, (ms: number) => new Promise(resolve => setTimeout(resolve, ms)))).toBe(
      'true true',
    )
    await vm.close()
  })

  it('arrays, typed arrays, options and signals of either realm are taken', async () => {
    const vm = await VirtualMachine.create({ memory: '64MiB' })
    await vm.load(workload.stride({ pages: 100 }))
    await vm.start()
    const use = program<unknown>(
      'vm, other',
      `const curve = await vm.measureDirtyCurve({ windows: other.windows })
       const { dirtyMemory } = vm
       await dirtyMemory.startTracking('dirty-rate')
       await dirtyMemory.discardInitialLog()
       await dirtyMemory.clear('dirty-rate')
       const reports = await dirtyMemory.syncAt('dirty-rate', [5, 10])
       const own = await dirtyMemory.readBitmap('dirty-rate', 'ram', new BigUint64Array(256))
       const others = await dirtyMemory.readBitmap('dirty-rate', 'ram', other.words)
       const reason = await vm.measureDirtyRate({ signal: other.signal }).catch(error => error)
       return [curve.points.length > 0, reports.length, own, others, reason]`,
    )
    const signal = AbortSignal.abort('mine')
    const other = { windows: [10, 200], words: new BigUint64Array(256), signal }
    expect(await use(vm, other)).toEqual([true, 2, 256, 256, 'mine'])
    await vm.close()
  })
})

describeKvm('where there are only the globals of ECMAScript', () => {
  const { openTarget } = exported

  it('the realm has none that Node adds', async () => {
    const known = await program<string[]>('', 'return Object.getOwnPropertyNames(globalThis)')()
    for (const name of [
      'process',
      'Buffer',
      'setTimeout',
      'setImmediate',
      'AbortController',
      'URL',
    ]) {
      expect(known).not.toContain(name)
    }
  })

  it('every function of the package works', async () => {
    const { buildGuest, capabilities, formatTrace, humanMonitorCommand, isDirtyRateError } =
      exported
    expect(capabilities().vcpus).toBeGreaterThan(0)
    expect(buildGuest(workload.stride({ pages: 1 }), { memory: '64MiB' }).length).toBeGreaterThan(0)
    expect(formatTrace({ message: 'x', fields: {} } as never)).toBeUndefined()
    await expect(openTarget('guest:strid')).rejects.toSatisfy(error =>
      isDirtyRateError(error, 'ERR_ARGUMENT'),
    )
    const vm = await openTarget('guest:stride,pages=100,memory=64MiB', {
      signal: new AbortController().signal,
    })
    expect(await humanMonitorCommand(vm, 'info dirty_rate')).toContain('Status: unstarted')
    expect((await vm.describe()).state).toBe('running')
    await vm.pause()
    await vm.resume()
    await vm.shutdown()
    expect(await vm.ended).toBe('shutdown')
    await vm.close()
  })

  it.each(['bitmap', 'ring'])('every measurement works with log=%s', async log => {
    const vm = await openTarget(`guest:stride,pages=100,memory=64MiB,log=${log}`)
    const events: string[] = []
    vm.on('done', ({ by }) => events.push(by))
    for (const mode of vm.modes) {
      expect((await vm.measureDirtyRate({ window: 10, mode })).complete).toBe(true)
      expect((await vm.measureDirtyCurve({ windows: [10, 30], mode })).complete).toBe(true)
      for await (const round of vm.watchDirtyRate({ every: 10, mode })) {
        expect(round.mode).toBe(mode)
        break
      }
    }
    const aborted = new AbortController()
    const measuring = vm.measureDirtyRate({ window: '1h', signal: aborted.signal })
    const loop = vm.watchDirtyRate({ every: '1h', signal: aborted.signal })
    const round = loop.next()
    await new Promise(resolve => setTimeout(resolve, 20))
    aborted.abort('enough')
    await expect(measuring).rejects.toBe('enough')
    await expect(round).rejects.toBe('enough')
    await vm.calcDirtyRate({ 'calc-time': 50, 'calc-time-unit': 'millisecond' })
    while ((await vm.queryDirtyRate()).status === 'measuring') {
      await new Promise(resolve => setTimeout(resolve, 5))
    }
    expect(events).toEqual([...vm.modes.flatMap(() => ['measure', 'curve', 'watch']), 'calc'])
    await vm.close()
  })

  it('memory and bitmaps of many pieces are copied', async () => {
    const guestAddress = 2 ** 34
    const bytesOfBlock = 2 ** 15 * 64 * PAGE + 2 ** 21
    const vm = await VirtualMachine.create({
      memory: [{ name: 'ram', guestAddress, bytes: bytesOfBlock }],
    })
    const bytes = new Uint8Array(2 ** 20 + 7).fill(5)
    await vm.dirtyMemory.startTracking('migration')
    await vm.dirtyMemory.discardInitialLog()
    await vm.dirtyMemory.clear('migration')
    await vm.writeMemory(guestAddress + 2 ** 20, bytes)
    const read = new Uint8Array(bytes.length)
    await vm.readMemory(guestAddress + 2 ** 20, read)
    expect(read.every(byte => byte === 5)).toBe(true)
    await vm.dirtyMemory.sync()
    const words = new BigUint64Array(2 ** 15 + 2 ** 9)
    const dirty = await vm.dirtyMemory.readBitmap('migration', 'ram', words)
    expect(dirty).toBeGreaterThan(2 ** 15)
    const heat = await vm.dirtyMemory.heat('migration', 'ram', new Uint32Array(2 ** 17))
    expect(heat).toBeGreaterThan(1)
    const ranges = await vm.dirtyMemory.ranges('migration', 'ram')
    expect([...ranges]).toEqual([2 ** 20 / vm.pageSize, Math.ceil(bytes.length / vm.pageSize)])
    await vm.close()
  })

  it('the log, and listeners that throw, work', async () => {
    const { setLog } = exported
    const before = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    const thrown: unknown[] = []
    process.on('uncaughtException', error => thrown.push(error))
    onTestFinished(() => {
      process.removeAllListeners('uncaughtException')
      for (const listener of before) process.on('uncaughtException', listener)
    })
    const messages: string[] = []
    let isFirst = true
    setLog('debug', ({ message }) => {
      messages.push(message)
      // An event that a listener causes is delivered in the next turn of the event loop.
      if (isFirst) exported.capabilities()
      isFirst = false
      if (message === 'measurement done') throw new Error('of the log')
    })
    const vm = await openTarget('guest:idle,memory=64MiB')
    vm.on('done', () => {
      throw new Error('of the event')
    })
    await vm.measureDirtyRate({ window: 10 })
    await vm.close()
    setLog('off', null)
    expect(messages).toContain('measurement done')
    expect(thrown.map(error => (error as Error).message)).toEqual(['of the log', 'of the event'])
  })
})
