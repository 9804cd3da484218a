/** `dirtyrate top`: its table, its keys in a terminal, and VMs that come, go and fail. */

import { spawn } from 'node:child_process'
import { expect, it, onTestFinished } from 'vitest'
import { ratesOf } from '../../ts/cli/rate-unit.js'
import { widthOf } from '../../ts/cli/text.js'
import {
  described,
  measured,
  newRow,
  type Row,
  type Sorting,
  sorted,
  tableOf,
  together,
  trend,
} from '../../ts/cli/top/rows.js'
import type { Figures } from '../../ts/results/measurement.js'
import { cli, dirtyrate, run } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'

const MIB = 2 ** 20
const busy = 'guest:stride,pages=5000,rate=100MiB/s,memory=256MiB'
const idle = 'guest:idle,memory=128MiB'
const absent = 'pid:4194304'
const PERIODS = ['--every', '500ms', '--window', '200ms']

function row(name: string, bytesPerSecond: number, more: Partial<Row> = {}): Row {
  const made = newRow(`pid:${name}`, name)
  const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
  measured(made, { bytesPerSecond, interval, complete: true, warnings: [] } as unknown as Figures)
  return Object.assign(made, more)
}

const form = { rates: ratesOf(undefined, undefined), bars: false, verdicts: true, width: 200 }

it('sorts by each column, and names by the alphabet', () => {
  const rows = [
    row('b', 2 * MIB, { memoryBytes: 1, vcpus: 4, verdict: 'converges' }),
    row('a', 1 * MIB, { memoryBytes: 3, vcpus: 2, verdict: 'stalls' }),
    row('c', 2 * MIB, { memoryBytes: 2, vcpus: 2, verdict: 'uncertain' }),
    newRow('pid:9', 'd'),
  ]
  const names = (by: Sorting): string =>
    sorted(rows, by)
      .map(({ name }) => name)
      .join('')
  expect(names('rate')).toBe('bcad')
  expect(names('name')).toBe('abcd')
  expect(names('memory')).toBe('acbd')
  expect(names('vcpus')).toBe('bacd')
  expect(names('verdict')).toBe('acbd')
})

it('adds what is measured now, and not what a VM that fails had before', () => {
  const rows = [row('a', 2 * MIB), row('b', 3 * MIB), row('c', 5 * MIB, { hasFailed: true })]
  expect(together([...rows, newRow('pid:9', 'd')])).toEqual({ vms: 4, bytesPerSecond: 5 * MIB })
})

it('counts a VM once that several targets name, by one that has a figure', () => {
  const rows = [
    row('a', 2 * MIB, { vm: 'pid:1', hasFailed: true }),
    row('b', 3 * MIB, { vm: 'pid:1' }),
    row('c', 5 * MIB, { vm: 'pid:1' }),
    row('d', 7 * MIB, { vm: 'pid:2' }),
    row('e', 11 * MIB),
    row('f', 13 * MIB),
  ]
  expect(together(rows)).toEqual({ vms: 4, bytesPerSecond: 34 * MIB })
})

it('has its columns below each other, whatever characters the names have', () => {
  const names = ['plain', '\u65e5\u672c\u8a9e', '\u{1f600}\u{1f680} vm', 'e\u0301', '\ud55c\uae00']
  const rows = names.map(name => row(name, MIB, { note: `${name} moves` }))
  const [titles = '', ...lines] = tableOf(rows, form)
  const begins = (line: string, part: string): number => widthOf(line.slice(0, line.indexOf(part)))
  expect(lines).toHaveLength(names.length)
  lines.forEach((line, at) => {
    expect(begins(line, '1.0 MiB/s') + 9).toBe(begins(titles, 'rate') + 4)
    const note = line.lastIndexOf(names[at] ?? '?')
    expect(widthOf(line.slice(0, note))).toBe(begins(titles, 'note'))
  })
})

it('has a trend in bars, and in words where there are none', () => {
  expect(trend([5], true)).toBe('')
  expect(trend([0, 7, 3.5], true)).toBe('▁█▅')
  expect(trend([0, 0], true)).toBe('▁▁')
  expect(trend([100, 100, 109], false)).toBe('steady')
  expect(trend([100, 100, 120], false)).toBe('rises')
  expect(trend([100, 100, 80], false)).toBe('falls')
})

it('shows one line for each VM also where the terminal is narrow and the names are long', () => {
  const rows = ['short', 'a'.repeat(60), '日本語🙂'.repeat(12)].map(name => newRow(name, undefined))
  for (const width of [26, 40, 60]) {
    const lines = tableOf(rows, { ...form, width })
    expect(lines).toHaveLength(1 + rows.length)
    for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(width)
  }
})

it('lets no name and no message write to the terminal, at any width', () => {
  const hostile = '\x1b]0;x\x07\x1b[2J\r\nname'
  const rows = [row(hostile, MIB), row('b', MIB, { note: hostile, hasFailed: true })]
  for (const width of [200, 100, 60, 30, 5]) {
    const lines = tableOf(rows, { ...form, width })
    for (const line of lines) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
      expect(line).not.toMatch(/[\x00-\x1f\x7f-\x9f]/)
      expect(line.length).toBeLessThanOrEqual(width)
    }
    if (width >= 60) expect(lines.join('\n')).toContain('\\x1b')
  }
})

it('says what is known of a VM that was never measured', () => {
  const made = newRow('pid:7', undefined)
  described(made, { uri: 'pid:7', memoryBytes: 3 * 2 ** 30, vcpus: 2, state: 'running', modes: [] })
  const [, line = ''] = tableOf([made], form)
  expect(line.trim().split(/ {2,}/)).toEqual([
    'pid:7',
    '-',
    '-',
    '3.0 GiB',
    '2',
    '-',
    'waiting for the first window',
  ])
})

describeKvm('dirtyrate top', () => {
  it('prints a table in each period where there is no terminal, with why a target fails', async () => {
    const args = ['top', busy, idle, absent, ...PERIODS, '--count', '2']
    const { status, stdout } = await dirtyrate(args)
    expect(status).toBe(1)
    const tables = stdout.trimEnd().split('\n\n')
    expect(tables).toHaveLength(2)
    for (const table of tables) {
      const [titles = '', first = '', second = '', third = ''] = table.split('\n')
      expect(titles).toMatch(/^VM +rate +trend +memory +vCPUs +interval +note$/)
      expect(first).toMatch(/^guest:stride.* +[\d.]+ MiB\/s .* 256\.0 MiB +1 /)
      expect(second).toMatch(/^guest:idle.* +0\.\d MiB\/s .* 128\.0 MiB +1 /)
      expect(third).toMatch(
        /^pid:4194304 +- +failed .*there is no process 4194304; again in \d+ s$/,
      )
    }
  })

  it('has verdicts of migrations, and refuses half of a link', async () => {
    const windows = ['--windows', '20ms,50ms,100ms', '--downtime', '300ms']
    const fast = await dirtyrate([
      'top',
      busy,
      ...PERIODS,
      ...windows,
      '--bandwidth',
      '100Gbit/s',
      '--count',
      '2',
    ])
    expect(fast.stdout).toMatch(/guest:stride.* converges /)
    const half = await dirtyrate(['top', busy, '--downtime', '300ms'])
    expect([half.status, half.stderr]).toEqual([2, expect.stringContaining('--bandwidth')])
  })

  it('prints the measurements and the failures as JSON', async () => {
    const args = ['top', busy, absent, ...PERIODS, '--count', '2', '--json']
    const { stdout } = await dirtyrate(args)
    const documents = stdout
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    const of = (uri: string) => documents.filter(({ target }) => target.startsWith(uri))
    expect(of('guest:stride').length).toBeGreaterThan(1)
    for (const { mode, pages, truth, cells } of of('guest:stride')) {
      expect(mode).toBe('dirty-bitmap')
      expect(cells).toBeUndefined()
      expect(pages).toBeGreaterThanOrEqual(truth.low)
      expect(pages).toBeLessThanOrEqual(truth.high)
    }
    expect(of(absent)[0].error.code).toBe('ERR_TARGET_ABSENT')
  })

  it('fills a terminal, sorts by keys, holds the picture, and gives the terminal back', async () => {
    const { status, stdout } = await run('bash', [
      '-c',
      `(sleep 4; printf s; sleep 1; printf h; sleep 1; printf p; sleep 1; printf q) | LC_ALL=C.UTF-8 TERM=xterm CI= script -qec "stty cols 100 rows 20; node dist/cli.js top ${busy} ${idle} ${PERIODS.join(' ')}" /dev/null`,
    ])
    expect(status).toBe(0)
    expect(stdout).toContain('\x1b[?1049h\x1b[?25l')
    const [shown = '', after = ''] = stdout.split('\x1b[?25h\x1b[?1049l')
    const screens = shown.split('\x1b[?2026h').slice(1)
    const rowsOf = (screen: string): string[] =>
      [...screen.matchAll(/^guest:\w+/gm)].map(([name]) => name)
    const by = (sorting: string): string[] => screens.filter(text => text.includes(`by ${sorting}`))
    expect(by('rate').map(rowsOf)).toContainEqual(['guest:stride', 'guest:idle'])
    expect(rowsOf(by('name').at(-1) ?? '')).toEqual(['guest:idle', 'guest:stride'])
    expect(by('name').at(-1)).toContain('q         quit')
    expect(screens.at(-1)).toContain('held: p goes on')
    expect(shown).toMatch(/stride.*[▁▂▃▄▅▆▇█]{2}/)
    expect(after).toMatch(/^guest:idle/m)
  })

  it('shows VMs of the host that come and go', async () => {
    const vm = spawn(process.execPath, [cli, 'watch', busy, '--every', '500ms', '--json'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    onTestFinished(() => void vm.kill('SIGKILL'))
    await new Promise(resolve => vm.stdout.once('data', resolve))
    const name = `pid:${vm.pid}`
    const child = spawn(process.execPath, [cli, 'top', ...PERIODS, '--json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (piece: string) => {
      text += piece
    })
    const until = async (has: () => boolean): Promise<void> => {
      while (!has()) await new Promise(resolve => setTimeout(resolve, 50))
    }
    await until(() => text.includes(`"target":"${name}`))
    vm.kill('SIGTERM')
    await new Promise(resolve => vm.once('exit', resolve))
    // It is looked for every 2 s; after that, nothing is said of it any more.
    await new Promise(resolve => setTimeout(resolve, 5000))
    const before = text.split(`"target":"${name}`).length
    await new Promise(resolve => setTimeout(resolve, 3000))
    expect(text.split(`"target":"${name}`)).toHaveLength(before)
    child.kill('SIGTERM')
    expect(await new Promise(resolve => child.once('exit', resolve))).toBe(143)
  })
})
