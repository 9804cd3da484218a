/** The same guest here and in a real QEMU, and what becomes of a QEMU that does not run. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { certainError } from '../../ts/cli/compare/truth.js'
import { dirtyrate, root } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { describeWith } from '../fixtures/kvm.js'
import { MEMORY } from '../fixtures/machine.js'
import { modesHere } from '../fixtures/modes.js'
import { expectForm } from '../fixtures/schema.js'

const PAGES = 1000
const WINDOW_MS = 200
const quick = ['--pages', String(PAGES), '--memory', MEMORY].concat(
  '--window',
  `${WINDOW_MS}ms`,
  '--rounds',
  '1',
)

interface Round {
  bytesPerSecond: number
  interval: { low: number; high: number }
  pages?: number
  windowNs: number
  complete: boolean
  truth: { low: number; high: number; bytesPerSecond: { low: number; high: number } }
  error: { low: number; high: number | null } | null
}
interface Result {
  tool: { name: string }
  mode: string
  rounds?: Round[]
  cpuNs?: number
  refused?: string
}

/** The processes whose command line has `text`. */
function processesWith(text: string): string[] {
  return readdirSync('/proc').filter(pid => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text)
    } catch {
      return false
    }
  })
}

/** An exact figure is right if it lies between the bounds of what the guest counted. */
function expectRight(pages: number, truth: Round['truth'], error: Round['error']): void {
  expect(pages).toBeGreaterThanOrEqual(truth.low)
  expect(pages).toBeLessThanOrEqual(truth.high)
  expect(error?.high).not.toBeNull()
  expect(error && certainError(error)).toBe(0)
}

describeWith('qemu-system-x86_64', 'compare', () => {
  it('shows what both tools say of the same guest', { timeout: 120_000 }, async () => {
    const { stdout, status, stderr } = await dirtyrate(['compare', ...quick, '--json'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expectForm(stdout, 'comparison')
    const { results }: { results: Result[] } = JSON.parse(stdout)
    const of = (name: string): string[] =>
      results.filter(({ tool }) => tool.name === name).map(({ mode }) => mode)
    expect(of('QEMU').sort()).toEqual([...modesHere].sort())
    expect(of('dirtyrate').sort()).toEqual([...modesHere].sort())
    for (const { cpuNs = 0, refused } of results) {
      // A vCPU that writes as fast as it can takes the whole window. It is not the tool's time.
      if (refused === undefined) expect(cpuNs).toBeLessThan((WINDOW_MS * 1e6) / 2)
    }
    const exact = results.filter(({ mode }) => mode !== 'page-sampling')
    for (const { tool, rounds = [], refused } of exact) {
      if (refused !== undefined) expect(tool.name).toBe('QEMU')
      for (const { interval, pages, truth, error } of rounds) {
        // A guest that writes as fast as it can writes its whole working set in each window, and
        // its page of counters.
        expect(truth.high).toBeGreaterThanOrEqual(PAGES + 1)
        if (pages === undefined) {
          expect(truth.high).toBe(PAGES + 1)
          // QEMU rounds down to whole MiB/s, and its rate may be anywhere in this MiB/s.
          expect(interval.low).toBeLessThanOrEqual(truth.bytesPerSecond.high)
          expect(interval.high).toBeGreaterThan(truth.bytesPerSecond.low)
        } else expectRight(pages, truth, error)
      }
    }
  })

  it('judges our exact figures by what the guest counted in their very window', async () => {
    // The guest writes a tenth of its pages in a window, so that none is written twice, and each
    // write that is not made within the window changes the truth.
    const paced = ['--pages', '5000', '--rate', '10MiB/s', '--window', '200ms', '--rounds', '2']
    const args = ['compare', ...paced, '--memory', MEMORY, '--json']
    const { results }: { results: Result[] } = JSON.parse((await dirtyrate(args)).stdout)
    const own = results.filter(({ tool }) => tool.name === 'dirtyrate')
    for (const { mode, rounds = [] } of own) {
      for (const { pages = 0, truth, error } of rounds) {
        expect(truth.low).toBeGreaterThan(0)
        if (mode !== 'page-sampling') expectRight(pages, truth, error)
      }
    }
    for (const { tool, rounds = [] } of results)
      for (const { truth } of rounds)
        if (tool.name === 'QEMU') expect(truth.low).toBeLessThan(truth.high)
  })

  it('names each tool in a table, and says why a mode was refused', async () => {
    const idle = ['--workload', 'idle', '--memory', MEMORY, '--window', '50ms', '--rounds', '1']
    const { stdout, status } = await dirtyrate(['compare', ...idle])
    expect(status).toBe(0)
    expect(stdout).toMatch(/^guest +idle: writes nothing, 1 vCPU, /)
    expect(stdout).toMatch(/QEMU \d+\.\d+\.\d+ +dirty-bitmap +[\d.]+ MiB\/s/)
    expect(stdout).toMatch(/dirtyrate \d+\.\d+\.\d+ +page-sampling +[\d.]+ MiB\/s/)
    expect(/refused/.test(stdout)).toBe(/was not measured by dirty-ring: KVM emulates/.test(stdout))
  })

  it('ends its QEMU when it is interrupted', { timeout: 60_000 }, async () => {
    // This name is in the command line of the QEMU, and nowhere else.
    const program = folder()('qemu', '#!/bin/bash\nexec -a "$0" qemu-system-x86_64 "$@"\n')
    chmodSync(program, 0o755)
    const child = spawn(
      process.execPath,
      [`${root}/dist/cli.js`, 'compare', ...quick, '--rounds', '1000', '--qemu', program],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    const ended = once(child, 'close')
    const others = (): string[] => processesWith(program).filter(pid => Number(pid) !== child.pid)
    await expect.poll(() => others().length, { timeout: 20_000 }).toBe(1)
    child.kill('SIGINT')
    expect(await ended).toEqual([130, null])
    expect(said).toMatch(/^dirtyrate: .*(interrupted|SIGINT)/m)
    expect(said).not.toContain('defect')
    expect(others()).toEqual([])
  })
})

describe('compare with a QEMU that does not run', () => {
  it.each([
    ['/no/such/qemu', /ENOENT.*\nInstall QEMU/],
    ['/bin/false', /false does not run.*\nThe text is QEMU's own/],
  ])('%s ends with status 3', async (qemu, why) => {
    const { status, stderr, stdout } = await dirtyrate(['compare', ...quick, '--qemu', qemu])
    expect({ status, stdout }).toEqual({ status: 3, stdout: '' })
    expect(stderr).toMatch(why)
    expect(stderr).toMatch(/--qemu/)
  })
})

it('refuses a QEMU that measures whole seconds only, and says which one is needed', async () => {
  const version = { qemu: { major: 8, minor: 1, micro: 5 }, package: '' }
  const greeting = JSON.stringify({ QMP: { version, capabilities: [] } })
  const qemu = folder()(
    'qemu-system-old.cjs',
    `#!${process.execPath}
    const path = /unix:([^,]*)/.exec(process.argv.join(' '))[1]
    require('node:net').createServer(client => {
      client.write('${greeting}\\r\\n')
      client.on('data', text => client.write(JSON.stringify({ return: {}, id: JSON.parse(text).id })))
    }).listen(path)\n`,
  )
  chmodSync(qemu, 0o755)
  const { status, stderr, stdout } = await dirtyrate(['compare', ...quick, '--qemu', qemu])
  expect({ status, stdout }).toEqual({ status: 3, stdout: '' })
  expect(stderr).toContain('qemu-system-old.cjs is QEMU 8.1.5, which measures whole seconds only')
  expect(stderr).toMatch(/name a QEMU 8\.2 or later with --qemu/)
})

it('says where no folder can be made for its files', async () => {
  const { status, stderr } = await dirtyrate(['compare', ...quick], {
    env: { ...process.env, TMPDIR: '/proc' },
  })
  expect(status).toBe(2)
  expect(stderr).toMatch(
    /^dirtyrate: TMPDIR: no folder can be made in '\/proc': .*\nSet the variable/,
  )
})

it('refuses a window that QEMU cannot measure, before anything is started', async () => {
  const { status, stderr } = await dirtyrate(['compare', '--window', '1ms'])
  expect(status).toBe(2)
  expect(stderr).toMatch(/^dirtyrate: --window: QEMU measures 50 ms to 60000 ms, and not 1 ms\n/)
})

it('refuses an empty name of a QEMU', async () => {
  const { status, stderr } = await dirtyrate(['compare', ...quick, '--qemu', ''])
  expect(status).toBe(2)
  expect(stderr).toMatch(/^dirtyrate: --qemu: it is empty\n/)
})
