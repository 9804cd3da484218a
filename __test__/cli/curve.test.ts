/** What `curve` says beside its table, and the file that it saves. */

import { execFile, execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { dirtyrate } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { describeKvm } from '../fixtures/kvm.js'
import { expectForm } from '../fixtures/schema.js'

const GUEST = 'guest:stride,pages=1000,memory=2GiB'

describeKvm('curve', () => {
  it('shows granules, regions and rounds, and saves the document', async () => {
    const file = folder()('curve.json', '')
    const options = ['--windows', '20ms,60ms', '--granularity', '2MiB,64KiB', '--repeat', '5']
    const { status, stdout } = await dirtyrate(['curve', GUEST, ...options, '--save', file])
    expect(status).toBe(0)
    expect(stdout).toMatch(/window +of 64KiB +extents +of 2MiB +extents/)
    expect(stdout).toMatch(/^ram \+ 0 B +[\d.]+ MiB of 1 GiB$/m)
    expect(stdout).toMatch(/^clean +1 of 2 regions of 1 GiB$/m)
    expect(stdout).toMatch(/^rounds +5$/m)
    expect(stdout).toMatch(/^stationary +(yes|no) \(mann-kendall p = [\d.e-]+, pettitt p = /m)
    const text = readFileSync(file, 'utf8')
    const saved = JSON.parse(text)
    expectForm(text, 'curve')
    expect(saved.repeated.rounds).toHaveLength(5)
  })

  it.each([
    [['--granularity', '64K'], '--granularity', 'KiB'],
    [['--granularity', '262244'], '--granularity', 'Did you mean 256KiB?'],
    [['--granularity', '262244B'], '--granularity', 'KiB, such as 256KiB.'],
    [['--repeat', '0'], '--repeat', ''],
    [['--repeat', '2', '--for', '1s'], '--repeat', ''],
    [['--for', '1ms'], '--for', ''],
    [['--save', ''], '--save', ''],
    [['--save', '/no/such/folder/curve.json'], '--save', 'no such file'],
    [['--save', '/proc/self'], '--save', 'directory'],
    [['--save', '/proc/version/curve.json'], '--save', 'directory'],
  ])('refuses %j', async (options, name, said) => {
    const { status, stdout, stderr } = await dirtyrate([
      'curve',
      'guest:idle',
      '--windows',
      '5ms',
      ...options,
    ])
    expect(status).not.toBe(0)
    expect(stderr).toContain(name)
    expect(stderr).toContain(said)
    expect(stdout).toBe('')
  })

  it('saves into a pipe that somebody reads', async () => {
    const pipe = `${folder()('beside', '')}.pipe`
    execFileSync('mkfifo', [pipe])
    const reader = promisify(execFile)('cat', [pipe])
    const { status, stdout } = await dirtyrate([
      ...['curve', 'guest:idle', '--windows', '5ms', '--json', '--save', pipe],
    ])
    expect(status).toBe(0)
    expect((await reader).stdout).toBe(stdout)
  })

  it('shows a curve that cannot be saved', async () => {
    const options = ['--windows', '5ms', '--json', '--save', '/dev/full']
    const { status, stdout, stderr } = await dirtyrate(['curve', 'guest:idle', ...options])
    expect(status).toBe(2)
    expect(JSON.parse(stdout).points).toHaveLength(1)
    expect(stderr).toContain("--save: '/dev/full' cannot be written: no space left")
  })
})
