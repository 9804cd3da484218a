import { expect, it } from 'vitest'
import { Rates } from '../../ts/cli/rate-unit.js'
import { parseRate, rateUnits } from '../../ts/ground/units.js'
import { dirtyrate } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY } from '../fixtures/machine.js'

it.each([
  [undefined, '100.0 MiB/s'],
  ['B/s', '104857600 B/s'],
  ['KiB/s', '102400.0 KiB/s'],
  ['MB/s', '104.9 MB/s'],
  ['GiB/s', '0.098 GiB/s'],
  ['Mbit/s', '838.9 Mbit/s'],
  ['Gbit/s', '0.839 Gbit/s'],
  ['bit/s', '838860800 bit/s'],
  ['TiB/s', '0.000095 TiB/s'],
  ['Tbit/s', '0.000839 Tbit/s'],
])('100 MiB/s in %s are %s', (unit, text) => expect(new Rates(unit).rate(100 * 2 ** 20)).toBe(text))

it.each(rateUnits)('a rate in %s is the rate that the same text is read as', unit => {
  const rate = 123 * 2 ** 30
  const read = parseRate(new Rates(unit).rate(rate), 'rate')
  // One half of the last digit that is shown.
  const [, decimals = ''] = /\.(\d+)/.exec(new Rates(unit).rate(rate)) ?? []
  expect(Math.abs(read - rate)).toBeLessThanOrEqual(
    parseRate(`1${unit}`, 'rate') * 0.5 * 10 ** -decimals.length * 1.001,
  )
})

it('an interval has the same unit', () => {
  const rates = new Rates('Mbit/s')
  expect(rates.interval({ low: 125_000, high: 250_000, confidence: 0.95 })).toBe(
    '1.0 to 2.0 Mbit/s (95 %)',
  )
  expect(rates.interval({ low: 125_000, high: null, confidence: 0.95 })).toBe('1.0 Mbit/s or more')
  expect(rates.interval({ low: 1, high: 1, confidence: 1 })).toBe('exact')
  // An exact mode of QEMU counts whole MiB/s.
  expect(rates.interval({ low: 125_000, high: 250_000, confidence: 1 })).toBe('1.0 to 2.0 Mbit/s')
})

describeKvm('--unit', () => {
  const guest = `guest:stride,pages=1000,memory=${MEMORY}`
  const lines: [string[], RegExp][] = [
    [['calc', guest, '--window', '20ms'], /^[\d.]+ Gbit\/s {2}guest:/],
    [['curve', guest, '--windows', '20ms'], /^ *[\d.]+ ms .*\d\.\d{3} Gbit\/s +exact$/m],
    [['watch', guest, '--every', '20ms', '--count', '1'], /^[\d:.]+ +\d\.\d{3} Gbit\/s /],
    [
      ['demo', '--pages', '100', '--memory', MEMORY, '--window', '20ms'],
      /dirty-bitmap .* [\d.]+ Gbit\/s/,
    ],
  ]

  it.each(lines)('of %j', async (args, line) => {
    const { status, stdout } = await dirtyrate([...args, '--unit', 'Gbit/s'])
    expect(status).toBe(0)
    expect(stdout).toMatch(line)
    // Command lines that the demo proposes have units of their own.
    expect(stdout.replaceAll(/dirtyrate .*/g, '')).not.toContain('MiB/s')
    const json = await dirtyrate([...args, '--unit', 'Gbit/s', '--json'])
    expect(json.status).toBe(2)
    expect(JSON.parse(json.stdout).error.message).toBe(
      '--unit: the output of --json has its own units',
    )
  })
})
