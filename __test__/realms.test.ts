/**
 * The package in a realm that is not the one of its binding, as in Jest, in vitest's `vmThreads` and in `node:vm`: there `Error` and
 * `Promise` are others than those of what the binding throws and returns.
 */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { createContext, Script } from 'node:vm'
import { expect, it } from 'vitest'
import type * as Package from '../ts/index.js'
import { root } from './fixtures/command.js'
import { describeKvm } from './fixtures/kvm.js'

const context = createContext({
  process,
  setImmediate,
  setTimeout,
  queueMicrotask,
  performance,
  AbortController,
})

/** Runs `source` as a CommonJS module of `file` in the other realm. */
function inContext(file: string, source: string): unknown {
  const run = new Script(`(function (exports, require, module, __filename, __dirname) {${source}\n})`, {
    filename: file,
  }).runInContext(context)
  const module = { exports: {} }
  run(module.exports, createRequire(file), module, file, dirname(file))
  return module.exports
}

const file = join(root, 'dist/index.cjs')
const { DirtyRateError, VirtualMachine, workload } = inContext(
  file,
  readFileSync(file, 'utf8'),
) as typeof Package

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
    expect(await leave(vm, (ms: number) => new Promise(resolve => setTimeout(resolve, ms)))).toBe('true true')
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
       const aborted = new AbortController()
       aborted.abort('mine')
       const reason = await vm.measureDirtyRate({ signal: aborted.signal }).catch(error => error)
       return [curve.points.length > 0, reports.length, own, others, reason]`,
    )
    const other = { windows: [10, 200], words: new BigUint64Array(256) }
    expect(await use(vm, other)).toEqual([true, 2, 256, 256, 'mine'])
    await vm.close()
  })
})
