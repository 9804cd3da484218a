/**
 * Measures VMs in other processes from outside, and compares with what their guests are known to
 * write: `stride` writes its whole working set in much less than a second, over and over.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { describe, expect, it, onTestFinished } from 'vitest'
import { argumentError } from '../../../ts/ground/errors.js'
import { native } from '../../../ts/ground/native.js'
import { hasNoMemory } from '../../../ts/ground/proc.js'
import { buildGuest, openTarget, type Target, workload } from '../../../ts/index.js'
import { type Measured, ProcessSource } from '../../../ts/targets/process/source.js'
import { cli, dirtyrate, root, run } from '../../fixtures/command.js'
import { folder } from '../../fixtures/elf.js'
import { describeKvm, describeWith, full } from '../../fixtures/kvm.js'
import { PAGE, sleep } from '../../fixtures/machine.js'
import { mostMisses } from '../../fixtures/misses.js'

const {
  Qemu,
}: {
  Qemu: {
    start(args: string[]): Promise<{
      pid: number
      kill(): Promise<void>
      execute(command: string, args?: object): Promise<unknown>
    }>
  }
} = await import(new URL('../../../scripts/qemu/qemu.mjs', import.meta.url).href)

/**
 * The working set of the guests. Even on a busy machine they write all of it in a window: they do
 * some 200,000 writes a second on an idle one.
 */
const PAGES = 2000
const WINDOW = '500ms'
/** The pages that a guest writes beside it: for each vCPU its mailbox and its stack. */
const OTHERS = 8
/** How often a test measures, and how sure each interval is. */
const [COUNT, CONFIDENCE] = full ? [100, 0.95] : [3, 1 - 1e-6]

/** Waits until the guest has written its whole working set in each of two windows. */
async function atWork(target: Target): Promise<void> {
  for (let whole = 0; whole < 2; ) {
    const { pages = 0 } = await target.measureDirtyRate({ samplePages: 16_384, window: WINDOW })
    // The working set is one run of pages or two, so that stratified samples are nearly exact.
    whole = pages > PAGES * 0.97 ? whole + 1 : 0
  }
}

/**
 * Measures a guest that is at work again and again. The intervals must have the truth in them at
 * their nominal rate.
 */
async function expectTruth(target: Target): Promise<void> {
  const missed: unknown[] = []
  for (let i = 0; i < COUNT; i++) {
    const measured = await target.measureDirtyRate({
      window: WINDOW,
      samplePages: [512, 2048, 16_384][i % 3],
      confidence: CONFIDENCE,
    })
    const { interval, window, complete } = measured
    expect(complete).toBe(true)
    const rate = (pages: number): number => (pages * PAGE) / (window.ns / 1e9)
    if (interval.low > rate(PAGES + OTHERS) || (interval.high ?? 0) < rate(PAGES))
      missed.push(measured)
  }
  if (missed.length > mostMisses(COUNT, CONFIDENCE)) expect(missed).toEqual([])
}

/** What measuring could cost a process: the pages of its guest's memory, and its page tables. */
async function footprint(target: Target, pid: number): Promise<unknown> {
  const { guestMemory } = await target.describe()
  const [start = ''] = guestMemory?.ranges[0]?.addresses.slice(2).split('-') ?? []
  const [, entry = ''] = readFileSync(`/proc/${pid}/smaps`, 'utf8').split(
    new RegExp(`^${start}-`, 'm'),
  )
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return { rss: /^Rss:.*$/m.exec(entry)?.[0], tables: /^VmPTE:.*$/m.exec(status)?.[0] }
}

/** Opens a process's memory, until the test is over. */
async function opened(uri: string): Promise<Target> {
  const target = await openTarget(uri)
  onTestFinished(() => target.close())
  return target
}

/** A process with a VM of this package, which runs until the test is over. */
async function ownProcess(uri: string): Promise<ChildProcess & { pid: number }> {
  const program = `const { openTarget } = await import('dirtyrate'); await openTarget('${uri}'); console.log('ready'); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const lines = createInterface({ input: child.stdout })
  await once(lines, 'line')
  return child as ChildProcess & { pid: number }
}

const LONG = full ? 300_000 : 120_000

describeKvm('a VM of this package in another process', () => {
  it.each(['memory=256MiB', 'memory=4GiB,vcpus=2'])(
    'is measured as it is, with %s',
    { timeout: LONG },
    async machine => {
      const { pid } = await ownProcess(`guest:stride,pages=${PAGES},${machine}`)
      const target = await opened(`pid:${pid}`)
      expect(target.uri).toBe(`pid:${pid}`)
      expect(target.modes).toEqual(['page-sampling', 'soft-dirty'])
      await atWork(target)
      await expectTruth(target)
      const { points } = await target.measureDirtyCurve({ windows: ['100ms', '500ms'] })
      expect(points).toHaveLength(2)
      expect(points[0]?.pages).toBeLessThanOrEqual(points[1]?.pages ?? 0)
      let rounds = 0
      for await (const { target: uri, blocks = [] } of target.watchDirtyRate({ every: '50ms' })) {
        expect(uri).toBe(target.uri)
        // Where a VM of ours has its blocks is not known from outside.
        expect(blocks[0]).not.toHaveProperty('guestAddress')
        if (++rounds === 2) break
      }
      await target.calcDirtyRate({ 'calc-time': 50, 'calc-time-unit': 'millisecond' })
      await expect.poll(() => target.queryDirtyRate()).toMatchObject({ status: 'measured' })
    },
  )

  it('ends a measurement when it ends, and says so when it is stopped', {
    timeout: LONG,
  }, async () => {
    const child = await ownProcess('guest:idle,memory=64MiB')
    const target = await opened(`pid:${child.pid}`)
    child.kill('SIGSTOP')
    await expect.poll(async () => (await target.describe()).state).toBe('paused')
    await expect(target.measureDirtyRate({ window: '50ms' })).rejects.toMatchObject({
      code: 'ERR_PAUSED',
      hint: expect.stringContaining(`kill -CONT ${child.pid}`),
    })
    child.kill('SIGCONT')
    await expect.poll(async () => (await target.describe()).state).toBe('running')
    const stopped = expect(target.measureDirtyRate({ window: '30s' })).rejects.toMatchObject({
      code: 'ERR_PAUSED',
      message: `process ${child.pid} was stopped within the window, so its guest wrote nothing`,
      hint: expect.stringContaining(`kill -CONT ${child.pid}`),
    })
    await sleep(100)
    child.kill('SIGSTOP')
    await stopped
    child.kill('SIGCONT')
    await expect.poll(async () => (await target.describe()).state).toBe('running')
    const watch = target.watchDirtyRate({ every: '100ms' })
    await watch.next()
    child.kill('SIGSTOP')
    await expect(async () => {
      for await (const _ of watch);
    }).rejects.toMatchObject({ code: 'ERR_PAUSED' })
    child.kill('SIGCONT')
    await expect.poll(async () => (await target.describe()).state).toBe('running')
    const measuring = target.measureDirtyRate({ window: '30s' })
    const ended = expect(measuring).rejects.toMatchObject({
      code: 'ERR_TARGET_GONE',
      message: `process ${child.pid} has ended`,
      hint: expect.not.stringContaining('monitor'),
    })
    await sleep(100)
    child.kill('SIGKILL')
    await ended
    expect(hasNoMemory(child.pid)).toBe(true)
    expect(hasNoMemory(process.pid)).toBe(false)
    await expect(target.measureDirtyRate()).rejects.toMatchObject({ code: 'ERR_TARGET_GONE' })
    await expect(openTarget(`pid:${child.pid}`)).rejects.toMatchObject({
      code: 'ERR_TARGET_ABSENT',
    })
  })

  it('ends a measurement that is aborted, and one whose target is closed', async () => {
    const { pid } = await ownProcess('guest:idle,memory=64MiB')
    const target = await opened(`pid:${pid}`)
    const abort = new AbortController()
    const aborted = target.measureDirtyRate({ window: '30s', signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    const measuring = expect(target.measureDirtyRate({ window: '30s' })).rejects.toMatchObject({
      code: 'ERR_CLOSED',
      message: 'the target was closed within the window',
      hint: expect.stringContaining('Open it again'),
    })
    await target.close()
    await measuring
    await expect(target.measureDirtyRate()).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    await expect(target.describe()).rejects.toMatchObject({
      code: 'ERR_CLOSED',
      message: 'the target is closed',
      hint: `Open it again: openTarget('pid:${pid}').`,
    })
  })
})

it('a process without memory has ended, whatever the refusal of its ranges says', async () => {
  // The shell becomes a sleep, which never asks for the status of its child.
  const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'])
  onTestFinished(() => void parent.kill('SIGKILL'))
  const [line] = await once(createInterface({ input: parent.stdout }), 'line')
  const pid = Number(line)
  const stat = (pid: number | undefined): string => readFileSync(`/proc/${pid}/stat`, 'utf8')
  await expect.poll(() => stat(pid)).toMatch(/\) Z /)
  // A shell that becomes a sleep while it is opened is refused, rightly, for its exec.
  await expect.poll(() => stat(parent.pid)).toMatch(/\(sleep\)/)
  const refusal = argumentError(
    'range 7f0000000000-7f0000400000: there is no memory at 0x7f0000000000',
  )
  const explained = (pid: number | undefined): unknown =>
    new ProcessSource({ pid, ranges: [] } as unknown as Measured).explain(refusal)
  expect(explained(pid)).toMatchObject({
    code: 'ERR_TARGET_GONE',
    message: `process ${pid} has ended`,
  })
  // The same refusal about a process that runs is a mistake of the caller.
  expect(explained(parent.pid)).toBe(refusal)
  await expect(openTarget(`pid:${parent.pid}`)).rejects.toMatchObject({
    code: 'ERR_TARGET_ABSENT',
    message: expect.stringMatching(
      /has no vCPU at KVM, so none of its memory is taken for a guest's$/,
    ),
  })
})

describeWith('qemu-system-x86_64', 'a QEMU', () => {
  const shared = '-object memory-backend-memfd,id=m,size=256M,share=on -machine memory-backend=m'
  const file = (path: string): string =>
    `-object memory-backend-file,id=m,size=256M,share=on,mem-path=${path} -machine memory-backend=m`
  const machines = [
    { name: 'anonymous memory', mib: 256, vcpus: 1, args: () => '' },
    { name: 'a memfd', mib: 256, vcpus: 1, args: () => shared },
    { name: 'a file', mib: 256, vcpus: 1, args: () => file(folder()('ram', Buffer.alloc(0))) },
    { name: '3 GiB and two vCPUs', mib: 3072, vcpus: 2, args: () => '' },
  ]
  it.each(machines)(
    'is measured as it is, and not disturbed: $name',
    { timeout: LONG },
    async ({ mib, vcpus, args }) => {
      const guest = workload.stride({ pages: PAGES })
      const kernel = folder()('guest.elf', buildGuest(guest, { memory: `${mib}MiB`, vcpus }))
      const more = args()
        .split(' ')
        .filter(word => word !== '')
      const qemu = await Qemu.start([
        '-m',
        String(mib),
        '-smp',
        String(vcpus),
        '-kernel',
        kernel,
        ...more,
      ])
      onTestFinished(() => qemu.kill())
      const target = await opened(`pid:${qemu.pid}`)
      const { memoryBytes, vcpus: found, guestMemory, software } = await target.describe()
      expect({ memoryBytes, found, software }).toEqual({
        memoryBytes: mib * 2 ** 20,
        found: vcpus,
        software: 'QEMU',
      })
      const addresses = guestMemory?.ranges.map(({ guestAddress }) => guestAddress)
      expect(addresses).toEqual(mib > 2816 ? [0, 2 ** 32] : [0])
      await atWork(target)
      const before = await footprint(target, qemu.pid)
      await expectTruth(target)
      expect(await footprint(target, qemu.pid)).toEqual(before)
    },
  )
})

describeWith('qemu-system-x86_64', "KVM's statistics of a QEMU", () => {
  it('are the same from outside as those that QEMU gives', { timeout: LONG }, async () => {
    const guest = workload.stride({ pages: PAGES })
    const kernel = folder()('guest.elf', buildGuest(guest, { memory: '256MiB', vcpus: 2 }))
    const qemu = await Qemu.start(['-m', '256', '-smp', '2', '-kernel', kernel])
    onTestFinished(() => qemu.kill())
    const stats = async (): Promise<Map<string, number>> => {
      const vcpus = (await qemu.execute('query-stats', { target: 'vcpu' })) as {
        stats: { name: string; value: unknown }[]
      }[]
      const sums = new Map<string, number>()
      for (const { name, value } of vcpus.flatMap(({ stats }) => stats)) {
        const count = typeof value === 'boolean' ? Number(value) : value
        if (typeof count === 'number') sums.set(name, (sums.get(name) ?? 0) + count)
      }
      return sums
    }
    const outside = new (native().NativeProcess)(qemu.pid)
    onTestFinished(() => outside.close())
    const before = await stats()
    const found = await outside.kvmStatistics()
    const after = await stats()
    expect(Object.keys(found ?? {}).sort()).toEqual([...before.keys()].sort())
    expect(before.size).toBeGreaterThan(10)
    // Counters only grow, and each is read between the two answers.
    for (const [name, value] of Object.entries(found ?? {})) {
      if (name === 'blocking' || name === 'guest_mode') continue
      expect(value, name).toBeGreaterThanOrEqual(before.get(name) ?? 0)
      expect(value, name).toBeLessThanOrEqual(after.get(name) ?? 0)
    }
  })

  it('are absent where a process has none', async () => {
    const outside = new (native().NativeProcess)(process.pid)
    onTestFinished(() => outside.close())
    expect(await outside.kvmStatistics()).toBe(null)
  })
})

describe('a process without a guest', () => {
  const sleeping = (): number => {
    const child = spawn('sleep', ['1000'], { stdio: 'ignore' })
    onTestFinished(() => void child.kill())
    return child.pid ?? 0
  }

  it('has no memory to measure, unless the caller names it', async () => {
    const pid = sleeping()
    await expect.poll(() => readFileSync(`/proc/${pid}/comm`, 'utf8')).toBe('sleep\n')
    // It has its name a moment before it has a heap.
    await expect.poll(() => readFileSync(`/proc/${pid}/maps`, 'utf8')).toContain('[heap]')
    await expect(openTarget(`pid:${pid}`)).rejects.toMatchObject({
      code: 'ERR_TARGET_ABSENT',
      message: expect.stringContaining("the unknown program 'sleep' and has no vCPU at KVM"),
      hint: expect.stringContaining('range=START-END'),
    })
    const heap = /^([0-9a-f]+-[0-9a-f]+) .*\[heap\]$/m.exec(
      readFileSync(`/proc/${pid}/maps`, 'utf8'),
    )?.[1]
    const target = await opened(`pid:${pid},range=${heap}`)
    expect(target.uri).toBe(`pid:${pid},range=0x${heap?.replace('-', '-0x')}`)
    const measured = await target.measureDirtyRate({ window: '50ms' })
    expect(measured).toMatchObject({ pages: 0, complete: true, mode: 'page-sampling' })
    await expect(target.measureDirtyRate({ mode: 'dirty-bitmap' })).rejects.toMatchObject({
      code: 'ERR_MODE_UNAVAILABLE',
    })
    const said = await dirtyrate(['calc', target.uri, '--window', '50ms'])
    expect(said.stderr).toContain(`Guest memory: ram 0x${heap?.replace('-', '-0x')}`)
    expect(said.status).toBe(0)
    const hole = await opened(`pid:${pid},range=1000-2000`)
    await expect(hole.measureDirtyRate({ window: '50ms' })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining('no memory at 0x1000'),
    })
  })

  it('is refused by range= and min-size= together, because one would have no effect', async () => {
    await expect(openTarget('pid:1,range=1000-2000,min-size=1GiB')).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: 'pid: range and min-size exclude each other',
    })
  })

  it('says what a number is that is no process with memory', async () => {
    const [thread = ''] = readdirSync('/proc/self/task').filter(id => id !== String(process.pid))
    await expect(openTarget(`pid:${thread}`)).rejects.toMatchObject({
      code: 'ERR_TARGET_ABSENT',
      message: `${thread} is the number of a thread of process ${process.pid}`,
      hint: `Give the number of the process: pid:${process.pid}`,
    })
    // The shell becomes a sleep, which never asks for the status of its child.
    const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'])
    onTestFinished(() => void parent.kill('SIGKILL'))
    const [zombie] = await once(createInterface({ input: parent.stdout }), 'line')
    await expect.poll(() => readFileSync(`/proc/${zombie}/stat`, 'utf8')).toMatch(/\) Z /)
    await expect(openTarget(`pid:${zombie}`)).rejects.toMatchObject({
      code: 'ERR_TARGET_ABSENT',
      message: expect.stringContaining(`process ${zombie} is a zombie`),
    })
  })

  it('is not measured by a program that may open no more files', async () => {
    const pid = sleeping()
    // The package is one file in CommonJS. In ESM, Node opens many of its modules at once.
    const files = `(async () => {
      const { openSync } = require('node:fs')
      const { openTarget } = require('${root}/dist/index.cjs')
      // So the binding is loaded.
      await openTarget('pid:${pid}').catch(() => {})
      try { for (;;) openSync('/dev/null') } catch {}
      await openTarget('pid:${pid}').catch(({ code, hint }) => console.log(JSON.stringify({ code, hint })))
    })()`
    const program = `ulimit -n 64; exec "$0" --eval "$1"`
    const { stdout, stderr } = await run('sh', ['-c', program, process.execPath, files])
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toMatchObject({
      code: 'ERR_LIMIT',
      hint: expect.stringContaining('ulimit -n'),
    })
  })

  it('is refused if it is not there, or no number', async () => {
    await expect(openTarget('pid:4194303')).rejects.toMatchObject({ code: 'ERR_TARGET_ABSENT' })
    for (const bad of ['0', '-1', 'x', '1.5', '4294967297'])
      await expect(openTarget(`pid:${bad}`)).rejects.toMatchObject({ code: 'ERR_ARGUMENT' })
    expect((await dirtyrate(['calc', 'pid:4194303'])).status).toBe(3)
  })

  it.runIf(process.getuid?.() === 0)('of another user is refused, with what helps', async () => {
    const pid = sleeping()
    const child = spawn(
      'setpriv',
      [
        '--reuid=65534',
        '--clear-groups',
        '--inh-caps=-all',
        process.execPath,
        cli,
        'calc',
        `pid:${pid},min-size=4KiB`,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    let said = ''
    child.stderr.setEncoding('utf8').on('data', text => {
      said += text
    })
    const [status] = await once(child, 'close')
    expect(said).toContain(`process ${pid}`)
    expect(said).toContain('CAP_SYS_PTRACE')
    expect(status).toBe(3)
  })
})
