import { expect, it } from 'vitest'
import { likelyUnit } from '../../ts/ground/likely-unit.js'
import { rateUnits } from '../../ts/ground/units.js'

const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'kB', 'MB', 'GB', 'TB']
const TIMES = ['ns', 'us', 'ms', 's', 'min', 'h']

it.each([
  ['G', 'GiB'],
  ['g', 'GiB'],
  ['K', 'KiB'],
  ['Gi', 'GiB'],
  ['gib', 'GiB'],
  ['gb', 'GB'],
  ['KB', 'kB'],
  ['bytes', 'B'],
  ['x', undefined],
  ['PB', undefined],
  ['EiB', undefined],
  ['ZB', undefined],
  ['MBs', 'MB'],
])('the size unit %s is likely %s', (written, meant) =>
  expect(likelyUnit(written, SIZES)).toBe(meant),
)

it.each([
  ['m', 'min'],
  ['sec', 's'],
  ['Seconds', 's'],
  ['S', 's'],
  ['msec', 'ms'],
  ['hours', 'h'],
])('the unit of time %s is likely %s', (written, meant) =>
  expect(likelyUnit(written, TIMES)).toBe(meant),
)

// Eight times as much lies between bits and bytes.
it.each([
  ['Gbps', 'Gbit/s'],
  ['gbps', 'Gbit/s'],
  ['Gb/s', 'Gbit/s'],
  ['Gbit', 'Gbit/s'],
  ['kbit', 'kbit/s'],
  ['bps', 'bit/s'],
  ['GBps', 'GB/s'],
  ['GB', 'GB/s'],
  ['gb/s', 'GB/s'],
  ['MiB', 'MiB/s'],
  ['M', 'MiB/s'],
  ['mib/s', 'MiB/s'],
  ['PB/s', undefined],
  ['Mbits/s', 'Mbit/s'],
])('the unit of rates %s is likely %s', (written, meant) =>
  expect(likelyUnit(written, rateUnits)).toBe(meant),
)
