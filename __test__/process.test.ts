import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it, vi } from 'vitest'
import { VirtualMachine, workload } from '../ts/index.js'
import { run, script } from './fixtures/command.js'
import { describeKvm, full } from './fixtures/kvm.js'
import { exactModesHere, logFor } from './fixtures/modes.js'

const start = `
  import { VirtualMachine, workload } from 'dirtyrate'
  const begin = async () => {
    const vm = await VirtualMachine.create({ memory: '64MiB', vcpus: 2 })
    await vm.load(workload.stride({ pages: 900 }))
    await vm.start()
    return vm
  }
`

describe('the package', () => {
  it('is the same from ESM and from CommonJS, and importing it loads no binding', async () => {
    const names =
      "JSON.stringify([Object.keys(d).sort(), process.report.getReport().sharedObjects.filter(o => o.endsWith('.node'))])"
    const esm = await script(`import * as d from 'dirtyrate'; console.log(${names})`)
    const cjs = await run(process.execPath, [
      '--input-type=commonjs',
      '--eval',
      `const d = require('dirtyrate'); console.log(${names})`,
    ])
    expect(esm).toMatchObject({ status: 0, stderr: '' })
    expect(cjs).toEqual(esm)
    const [exported, loaded] = JSON.parse(esm.stdout)
    expect(exported).toContain('VirtualMachine')
    expect(loaded).toEqual([])
  })
})

describeKvm('a process', () => {
  it.each([
    ['ends with a running VM in it', 'globalThis.vm = await begin()'],
    ['ends with a paused VM in it', 'globalThis.vm = await begin(); await vm.pause()'],
    [
      'ends with the log on',
      "globalThis.vm = await begin(); await vm.dirtyMemory.startTracking('migration')",
    ],
    [
      'ends after a measurement',
      'globalThis.vm = await begin(); await vm.measureDirtyRate({ window: 20 })',
    ],
    [
      'ends by process.exit within a measurement',
      'const vm = await begin(); vm.measureDirtyRate({ window: 5000 }); setTimeout(() => process.exit(0), 50)',
    ],
    [
      'ends with a log listener',
      "import { setLog } from 'dirtyrate'; setLog('trace', () => {}); globalThis.vm = await begin()",
    ],
    [
      'is kept alive by an awaited measurement',
      'const vm = await begin(); await vm.measureDirtyRate({ window: 300 })',
    ],
    [
      'collects a running VM',
      'let vm = await begin(); vm = undefined; for (let i = 0; i < 5; i++) { gc(); await new Promise(setImmediate) }',
    ],
  ])('%s', async (_, body) => {
    const { status, signal, stdout, stderr } = await script(
      `${start}\n${body}\nconsole.log('reached the end')`,
      ['--expose-gc'],
    )
    expect({ status, signal, stdout, stderr }).toEqual({
      status: 0,
      signal: null,
      stdout: 'reached the end\n',
      stderr: '',
    })
  })

  it.each([
    ['that ends', 'await done'],
    ['that is terminated', 'await done; await worker.terminate()'],
    [
      'that is terminated within a measurement',
      'await new Promise(r => setTimeout(r, 300)); await worker.terminate()',
    ],
  ])('survives a worker %s with a running VM', async (name, end) => {
    const wait = name.includes('within') ? 'vm.measureDirtyRate({ window: 60000 })' : ''
    const inside = `${start} globalThis.vm = await begin(); ${wait}; import('node:worker_threads').then(({ parentPort }) => parentPort.postMessage('running'))`
    const { status, signal, stdout, stderr } = await script(`
      import { Worker } from 'node:worker_threads'
      import { once } from 'node:events'
      import { VirtualMachine } from 'dirtyrate'
      for (let i = 0; i < 3; i++) {
        const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(${JSON.stringify(inside)}.replaceAll("'dirtyrate'", JSON.stringify(import.meta.resolve('dirtyrate'))))))
        // Both before the first wait: a worker is gone soon after its message.
        const [done, exited] = [once(worker, 'message'), once(worker, 'exit')]
        worker.on('error', error => { console.error(error); process.exitCode = 1 })
        ${end}
        if (${JSON.stringify(name === 'that ends')}) await exited
      }
      const vm = await VirtualMachine.create({ memory: '64MiB' })
      await vm.close()
      console.log('alive')
    `)
    expect({ status, signal, stdout, stderr }).toEqual({
      status: 0,
      signal: null,
      stdout: 'alive\n',
      stderr: '',
    })
  })

  it('has no VM left after collecting its object while it ran', async () => {
    const gc = globalThis.gc as () => void
    const threads = (): number => readdirSync('/proc/self/task').length
    await cycle(0)
    const before = threads()
    const forget = async (): Promise<void> => {
      const vm = await VirtualMachine.create({ memory: MEMORY })
      await vm.load(workload.stride({ pages: 100 }))
      await vm.start()
    }
    for (let i = 0; i < 10; i++) await forget()
    for (let i = 0; i < 100 && threads() > before; i++) {
      gc()
      await new Promise(resolve => setTimeout(resolve, 20))
    }
    expect(threads()).toBeLessThanOrEqual(before)
  })
})

/** A size that nothing else in the process has, so that a mapping of it is a guest's. */
const MEMORY = 37 * 2 ** 20

/** Create, run, measure, abort at a random instant, close. */
async function cycle(round: number): Promise<void> {
  const vm = await VirtualMachine.create({ memory: MEMORY, vcpus: 1 + (round % 2) })
  try {
    await vm.load(workload.stride({ pages: 200 }))
    await vm.start()
    const measured = await vm.measureDirtyRate({ window: 2 })
    expect(measured.pages).toBeGreaterThanOrEqual(measured.truth?.low ?? Number.NaN)
    const controller = new AbortController()
    const measurement = vm
      .measureDirtyRate({ window: 8, signal: controller.signal })
      .catch(() => undefined)
    setTimeout(() => controller.abort(), Math.random() * 10)
    await measurement
  } finally {
    await vm.close()
  }
}

interface Held {
  descriptors: number
  threads: number
  guestMappings: number
  mappings: number
}

function held(): Held {
  const maps = readFileSync('/proc/self/maps', 'utf8').trim().split('\n')
  const isGuest = (line: string): boolean => {
    const [from = 0, to = 0] = (line.split(' ', 1)[0] ?? '')
      .split('-')
      .map(part => Number.parseInt(part, 16))
    return line.includes('kvm') || to - from === MEMORY
  }
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
    guestMappings: maps.filter(isGuest).length,
    mappings: maps.length,
  }
}

describeKvm('cycles of create, run, measure, abort and close', () => {
  const cycles = full ? 1000 : 100
  it(`leave nothing behind: ${cycles}`, { timeout: 600_000 }, async () => {
    for (let round = 0; round < 10; round++) await cycle(round)
    const before = held()
    for (let round = 0; round < cycles; round++) await cycle(round)
    // A native thread settles its promise and then ends: what is held may take a moment to go. What
    // leaks stays.
    const after = await vi.waitFor(
      () => {
        const now = held()
        expect(now.descriptors).toBeLessThanOrEqual(before.descriptors)
        expect(now.threads).toBeLessThanOrEqual(before.threads)
        expect(now.guestMappings).toBeLessThanOrEqual(before.guestMappings)
        return now
      },
      { timeout: 30_000, interval: 50 },
    )
    // The JavaScript heap and malloc map and unmap as they please, but not once a cycle.
    expect(after.mappings - before.mappings).toBeLessThan(cycles)
  })
})

describeKvm('measurements of every kind', () => {
  const rounds = full ? 500 : 60
  it.each(exactModesHere)(
    `leave nothing behind on a VM for %s: ${rounds}`,
    { timeout: 600_000 },
    async mode => {
      const vm = await VirtualMachine.create({
        memory: MEMORY,
        vcpus: 2,
        historySize: 10,
        ...logFor(mode),
      })
      try {
        // Paced: what is left behind does not depend on how much is written, and others want the
        // machine too.
        await vm.load(workload.stride({ pages: 200, rate: '10MiB/s' }))
        await vm.start()
        const round = async (number: number): Promise<void> => {
          await vm.measureDirtyRate({ window: 2 })
          await vm.measureDirtyRate({ window: 2, mode: 'page-sampling' })
          await vm.measureDirtyCurve({ windows: [1, 2] })
          for await (const _ of vm.watchDirtyRate({ every: 2 })) break
          const left = vm.watchDirtyRate({
            every: 2,
            signal: AbortSignal.timeout(1 + (number % 5)),
          })
          await left.next().catch(() => undefined)
          await left.return?.()
        }
        for (let number = 0; number < 10; number++) await round(number)
        const before = held()
        for (let number = 0; number < rounds; number++) await round(number)
        expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
        expect(vm.history).toHaveLength(10)
        await vi.waitFor(
          () => {
            const now = held()
            expect(now.descriptors).toBeLessThanOrEqual(before.descriptors)
            expect(now.threads).toBeLessThanOrEqual(before.threads)
            expect(now.guestMappings).toBeLessThanOrEqual(before.guestMappings)
          },
          { timeout: 30_000, interval: 50 },
        )
      } finally {
        await vm.close()
      }
    },
  )
})
