/** `dirtyrate plan`, as a program, on saved curves. */

import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { programFile } from '../../ts/host/program-checks.js'
import type { MigrationPlan } from '../../ts/prediction/index.js'
import { planMigrations } from '../../ts/prediction/index.js'
import { dirtyrate, run } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { expectForm } from '../fixtures/schema.js'

/** A guest that writes `hot` pages again and again, each of them every `seconds`. */
const curve = (hot: number, seconds: number, more: object = {}) => ({
  schemaVersion: 1,
  mode: 'dirty-bitmap',
  pageSize: 4096,
  points: [0.1, 1, 10].map(t => {
    const bytesPerSecond = (hot * -Math.expm1(-t / seconds) * 4096) / t
    const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
    return { windowNs: t * 1e9, bytesPerSecond, interval }
  }),
  memory: { bytes: 4 * 2 ** 30 },
  complete: true,
  warnings: [],
  ...more,
})
const web = curve(1000, 1, { target: 'libvirt:web,connect=test:///default' })
const idle = curve(10, 1)
const wild = curve(900_000, 0.1)

/** A folder with these curves, by the names of their files. */
function saved(curves: Readonly<Record<string, object>>): string {
  const file = folder()
  const paths = Object.entries(curves).map(([name, one]) => file(name, JSON.stringify(one)))
  return dirname(paths[0] ?? '')
}

const LINK = ['--bandwidth', '10Gbit/s', '--downtime', '300ms']
const plan = (...args: string[]) => dirtyrate(['plan', ...args])

describe('a plan', () => {
  const curves = { 'a file.json': web, 'idle.json': idle, 'wild.json': wild, 'notes.txt': {} }

  it('is the one of the library, by the names of domains and of files', async () => {
    const { stdout, status } = await plan(saved(curves), ...LINK, '--json')
    expect(status).toBe(0)
    expectForm(stdout, 'migrationPlan')
    const { schemaVersion, ...made } = JSON.parse(stdout) as MigrationPlan & {
      schemaVersion: number
    }
    expect(schemaVersion).toBe(1)
    const vms = [
      { name: 'web', curve: web },
      { name: 'idle', curve: idle },
      { name: 'wild', curve: wild },
    ]
    const own = planMigrations(vms, { bandwidth: '10Gbit/s', downtime: '300ms' })
    expect(made).toEqual(JSON.parse(JSON.stringify(own)))
  })

  it('has a line for each migration, and for each VM that stays', async () => {
    const { stdout } = await plan(saved(curves), ...LINK)
    expect(stdout).toMatch(/^2 VMs in 6\.\d s/)
    expect(stdout).toMatch(/^ 1\.1 +idle +live +0 ms /m)
    expect(stdout).toMatch(/^ 1\.1 +web +live +3\.\d s /m)
    expect(stdout).toMatch(/^1 VM stays\nwild +A live migration does not end\. /m)
  })

  it('takes files as well, and its other options', async () => {
    const at = saved(curves)
    const { stdout } = await plan(
      ...[join(at, 'idle.json'), join(at, 'wild.json'), ...LINK, '--json'],
      ...['--methods', 'live, more-downtime,post-copy', '--most-downtime', '1s'],
      ...['--overhead', '5s', '--parallel', '1', '--bandwidth-per-vm', '5Gbit/s'],
      ...['--device-state', '10ms', '--profile', 'qemu-9.0', '--channels', '4'],
    )
    const made = JSON.parse(stdout) as MigrationPlan
    expect(made.profile).toBe('qemu-9.0')
    expect(made.migrations.map(({ method, lane }) => [method, lane])).toEqual([
      ['live', 1],
      ['post-copy', 1],
    ])
    expect(made.migrations[0]?.totalMs.low).toBeGreaterThan(5000)
    expect(made.migrations.map(one => one.bytesPerSecond)).toEqual([625e6, 625e6])
  })

  it('takes the memory of a VM whose curve does not say it', async () => {
    const at = saved({ 'a.json': { ...idle, memory: undefined } })
    const without = await plan(at, ...LINK)
    expect([without.status, without.stderr]).toEqual([2, expect.stringContaining('--memory')])
    const made = JSON.parse((await plan(at, ...LINK, '--memory', '8GiB', '--json')).stdout)
    expect((made as MigrationPlan).totalMs.value).toBeGreaterThan(6000)
  })
})

describe('the commands', () => {
  const names = [
    "it's",
    'a b',
    '$(touch /tmp/x)',
    '-live',
    'ä"\\',
    ';wait',
    '\n# x',
    "a'\t'",
    'a\u2028b',
    '\u0085c',
  ]
  const hostile = Object.fromEntries(
    names.map((name, at) => [
      `${at}.json`,
      { ...idle, target: `libvirt:${name.replaceAll(',', ',,')}` },
    ]),
  )
  const all = { ...hostile, 'web.json': web, 'wild.json': wild }
  const wanted = [
    '--bandwidth',
    '20Gbit/s',
    '--bandwidth-per-vm',
    '10Gbit/s',
    '--downtime',
    '300ms',
  ]
  const to = 'qemu+ssh://other/system?a=b&c=d'

  /** What a `virsh` that writes down its words is called with, if a shell runs `script`. */
  async function called(script: string): Promise<string[][]> {
    const file = folder()
    const log = file('log', '')
    const bin = join(dirname(log), 'bin')
    mkdirSync(bin)
    const virsh = join(bin, 'virsh')
    writeFileSync(virsh, '#!/bin/bash\nprintf "%s\\0" "$@" "" >>"$CALLS"\n')
    chmodSync(virsh, 0o755)
    const env = { PATH: `${bin}:${process.env.PATH}`, CALLS: log }
    const { status, stderr } = await run('bash', ['-c', script], { env })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const calls = readFileSync(log, 'utf8')
      .split('\0\0')
      .filter(call => call !== '')
    return calls.map(call => call.split('\0'))
  }

  it('reach virsh as they are meant, whatever the names are', async () => {
    const methods = ['--methods', 'live,post-copy']
    const { stdout } = await plan(saved(all), ...wanted, ...methods, '--commands', '--to', to)
    const calls = await called(stdout)
    const migrated = calls.filter(words => words.includes('migrate'))
    const of = (words: readonly string[], option: string): string[] =>
      words.filter(word => word.startsWith(option)).map(word => word.slice(option.length))
    const domains = migrated.flatMap(words => of(words, '--domain='))
    expect(domains.sort()).toEqual([...names, 'web', 'wild'].sort())
    for (const words of migrated) {
      expect(of(words, '--desturi=')).toEqual([to])
      expect(of(words, '--bandwidth=')).toEqual([String(Math.floor(1.25e9 / 2 ** 20))])
      const isWeb = of(words, '--domain=')[0] === 'web'
      expect(of(words, '--connect=')).toEqual(isWeb ? ['test:///default'] : [])
      const isWild = of(words, '--domain=')[0] === 'wild'
      expect(words.includes('--postcopy-after-precopy')).toBe(isWild)
    }
    const limits = calls.filter(words => words.includes('migrate-setmaxdowntime'))
    expect(limits).toHaveLength(names.length + 1)
    for (const words of limits) expect(words).toContain('--downtime=300')
  })

  it.skipIf(programFile('virsh') === undefined)('have only options that virsh has', async () => {
    const memory = { bytes: 2 ** 32, compressedRatio: { value: 0.2, low: 0.2, high: 0.2 } }
    const pressed = { ...curve(200_000, 0.3), memory }
    const at = saved({ 'a.json': idle, 'b.json': wild, 'c.json': pressed })
    const scripts = await Promise.all(
      ['live,compression,post-copy', 'shutdown'].map(methods =>
        plan(at, ...LINK, '--methods', methods, '--commands', '--to', to),
      ),
    )
    const text = scripts.map(({ stdout }) => stdout).join('')
    expect(text).toContain('--compressed')
    const help = (await run('virsh', ['help', 'migrate'])).stdout
    const options = new Set(text.match(/(?<=migrate .*)--[a-z-]+/g))
    expect(options.size).toBeGreaterThan(8)
    for (const option of options) expect(help).toContain(option)
  })

  it('are none for a name that virsh takes for another domain', async () => {
    const at = saved({
      '17.json': idle,
      'd5f1a2b3-0000-4000-8000-123456789abc.json': idle,
      'wild.json': wild,
    })
    const { stdout } = await plan(at, ...LINK, '--commands', '--to', to)
    expect(stdout).not.toMatch(/^ *virsh/m)
    expect(stdout.match(/There is no command for it/g)).toHaveLength(2)
    expect(stdout).toContain('# wild stays. A live migration does not end.')
  })

  it('are in the document too', async () => {
    const at = saved({ 'a.json': idle })
    const { stdout } = await plan(at, ...LINK, '--commands', '--to', to, '--json')
    expectForm(stdout, 'migrationPlan')
    const { commands } = JSON.parse(stdout) as { commands: string[] }
    expect(commands.join('\n')).toContain('virsh migrate --live')
  })
})

it.each([
  [['/nowhere'], "curve: '/nowhere' cannot be read"],
  [['README.md'], 'is not JSON'],
  [['package.json'], 'package.json: it has no points'],
  [['docs'], "'docs' has no files whose names end in .json"],
  [[''], 'curve: it is empty'],
  [['a', 'a'], "vms: 'a' is there twice"],
  [['a', '--methods', 'fly'], "--methods: 'fly' is not known"],
  [['a', '--methods', 'more-downtime'], '--most-downtime: it is missing'],
  [['a', '--parallel', 'x'], "--parallel: 'x' is not a whole number"],
  [['a', '--bandwidth-per-vm', '10'], '--bandwidth-per-vm'],
  [['a', '--commands'], '--to: it is missing'],
  [['a', '--to', 'x'], '--to: it is for --commands only'],
])('refuses %j', async (args, message) => {
  const a = join(saved({ 'a.json': idle }), 'a.json')
  const words = args.map(word => (word === 'a' ? a : word))
  const { status, stdout, stderr } = await plan(...LINK, ...words)
  expect([status, stdout]).toEqual([2, ''])
  expect(stderr).toContain(message)
})
