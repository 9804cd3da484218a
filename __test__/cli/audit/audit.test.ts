/** `dirtyrate audit`: its looks at a guest whose rate is known, and its reader. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { MemoryReader } from '../../../ts/cli/audit/memory-reader.js'
import { openTarget, VirtualMachine, workload } from '../../../ts/index.js'
import { dirtyrate, root } from '../../fixtures/command.js'
import { describeKvm } from '../../fixtures/kvm.js'
import { PAGE } from '../../fixtures/machine.js'
import { expectForm } from '../../fixtures/schema.js'

const MIB = 2 ** 20
/**
 * How often a reader goes through the memory: for two seconds at its speed, so that the time in
 * which its program starts does not hide that it has no limit.
 */
const PASSES = 8
const quick = ['--window', '200ms', '--downtime', '50ms', '--rounds', '2', '--bandwidth', '1Gbit/s']

interface Audit {
  looks: {
    mode: string
    windowMs: number
    read: boolean
    ofRounds: number[]
    readBytesPerSecond?: number
    refused?: string
  }[]
  warnings: { code: string }[]
  factors: Record<string, { value: number; low: number; high: number }>
}

/** The processes whose command line has all of `words`. */
function processesWith(...words: string[]): string[] {
  return readdirSync('/proc').filter(pid => {
    if (!/^\d+$/.test(pid)) return false
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
      return words.every(word => line.some(one => one.includes(word)))
    } catch {
      return false
    }
  })
}

describeKvm('audit', () => {
  it('sees no more than the set of the guest, and has all factors', async () => {
    // No figure can have more than the whole set.
    // Half of the memory, so that the 32 samples of the default surely have a hit.
    const guest = 'guest:stride,pages=8000,memory=64MiB'
    const { stdout, status } = await dirtyrate(['audit', guest, ...quick, '--json'])
    expect(status).toBe(0)
    expectForm(stdout, 'audit')
    const { looks, factors }: Audit = JSON.parse(stdout)
    const exact = looks.filter(({ mode }) => mode === 'dirty-bitmap')
    expect(exact).toHaveLength(4)
    for (const { windowMs, ofRounds } of exact)
      for (const rate of ofRounds) {
        // A window is never shorter than asked for, and the set has a page of counters too.
        expect(rate).toBeLessThanOrEqual((8001 * PAGE) / (windowMs / 1000))
        expect(rate).toBeGreaterThan(0)
      }
    expect(Object.keys(factors)).toEqual(['sampling', 'window', 'migration', 'together'])
    for (const { read, readBytesPerSecond } of looks)
      expect(readBytesPerSecond !== undefined).toBe(read)
  })

  it('says why a guest that writes nothing has no factors', async () => {
    const words = ['audit', 'guest:idle,memory=64MiB', ...quick, '--bandwidth', '1Gbit/s']
    const { stdout, stderr, status } = await dirtyrate(words)
    expect(status).toBe(0)
    expect(stdout + stderr).toContain('There are no factors')
    expect(stdout + stderr).not.toContain('the product')
  })

  it('warns of a reader that no host can make as fast as asked for', async () => {
    const guest = 'guest:stride,pages=500,memory=64MiB'
    const words = ['audit', guest, ...quick, '--bandwidth', '100000Gbit/s']
    const { stdout, status } = await dirtyrate([...words, '--json'])
    expect(status).toBe(0)
    expectForm(stdout, 'audit')
    const { looks, warnings }: Audit = JSON.parse(stdout)
    expect(warnings.map(({ code }) => code)).toEqual(['SLOW_READER'])
    for (const { readBytesPerSecond } of looks)
      if (readBytesPerSecond !== undefined) expect(readBytesPerSecond).toBeGreaterThan(0)
    expect((await dirtyrate(words)).stdout).toMatch(/^read at +\S+ \S+\/s of [\s\S]*SLOW_READER/m)
  })

  it('reads the memory at the speed of the link, over and over, and maps nothing', async () => {
    const vm = await VirtualMachine.create({ memory: '256MiB' })
    onTestFinished(() => vm.close())
    await vm.load(workload.stride({ pages: 4000 }))
    await vm.start()
    const target = await openTarget(`pid:${process.pid}`)
    onTestFinished(() => target.close())
    await vm.measureDirtyRate({ window: '200ms' })
    const ranges = (target.guestMemory?.ranges ?? []).map(({ addresses }) => {
      const [start = 0, end = 0] = addresses.split('-').map(part => Number.parseInt(part, 16))
      return { start, end }
    })
    const before = pageTables()
    process.argv[1] = `${root}/dist/cli.js`
    const bytesPerSecond = 64 * MIB
    const task = { pid: process.pid, ranges, bytesPerSecond, pageSize: PAGE }
    const begun = performance.now()
    const reader = await MemoryReader.start(task, AbortSignal.timeout(30_000))
    onTestFinished(() => reader.stop())
    while (reader.read.passes < PASSES) await sleep(20)
    const seconds = (performance.now() - begun) / 1000
    // It is never faster than asked for, but for one piece of 1 MiB.
    expect(reader.read.bytes).toBeLessThan(bytesPerSecond * seconds + MIB)
    // Each pass has all pages that the guest writes.
    expect(reader.read.bytes).toBeGreaterThanOrEqual(PASSES * 4000 * PAGE)
    await reader.stop()
    // Page tables of 256 MiB take 512 KiB, 8 bytes a page. The guest has most of its pages
    // untouched, and they stay so.
    expect(pageTables() - before).toBeLessThan(256 * 1024)
  })

  it.each([
    ['interrupted', 'SIGINT', 130],
    ['killed', 'SIGKILL', null],
  ] as const)('leaves no reader behind when it is %s', async (_, signal, wanted) => {
    const guest = 'guest:stride,pages=777,memory=64MiB'
    const args = ['dist/cli.js', 'audit', guest, '--window', '1s', '--downtime', '1s', '--quiet']
    const child = spawn('node', args, { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    const readerOf = (): string[] => processesWith('read-memory', `"pid":${child.pid},`)
    for (let left = 600; left > 0 && readerOf().length === 0; left--) await sleep(100)
    expect(readerOf()).toHaveLength(1)
    child.kill(signal)
    const [status] = await once(child, 'exit')
    expect(status).toBe(wanted)
    await expect.poll(readerOf).toEqual([])
  })
})

/** The page tables of this process, in bytes. A page of zeros that is mapped counts only there. */
function pageTables(): number {
  const [, kib = ''] = /^VmPTE:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  return Number(kib) * 1024
}

describe('audit', () => {
  it.each([
    [['audit'], "missing required argument 'target'"],
    [['audit', 'guest:idle', '--bandwidth', '10'], '--bandwidth'],
    [['audit', 'guest:idle', '--rounds', '0'], '--rounds'],
    [['audit', 'guest:idle', '--mode', 'bitmap'], '--mode'],
    [
      ['audit', 'guest:idle', '--window', '1s', '--downtime', '2s'],
      '--downtime: it is longer than --window',
    ],
  ])('refuses %j', async (args, why) => {
    const { status, stdout, stderr } = await dirtyrate(args)
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toContain(why)
  })
})
