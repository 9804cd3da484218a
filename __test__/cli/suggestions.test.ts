/** Hints for command lines in another spelling: each hint begins with the text that works. */

import { describe, expect, it } from 'vitest'
import { openTarget } from '../../ts/index.js'
import { likelyTarget } from '../../ts/targets/likely-target.js'
import { schemes } from '../../ts/targets/open.js'
import { dirtyrate } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'

describe('a hint', () => {
  it.each([
    [['calc', 'guest:strid'], "Did you mean 'stride'? "],
    [['calc', 'guest:rand'], "Did you mean 'random'? "],
    [['calc', 'guest:stride,memory=4G'], 'Did you mean 4GiB? '],
    [['calc', 'guest:stride,memory=4'], 'Did you mean 4GiB?'],
    [['calc', 'guest:stride,rate=10Gbps'], 'Did you mean 10Gbit/s? '],
    [['calc', 'guest:stride,rate=100MB'], 'Did you mean 100MB/s? '],
    [['calc', 'guest:stride,granted=yes'], "Did you mean 'on'? "],
    [['calc', 'guest:stride,log=dirty-ring'], "Did you mean 'ring'? "],
    [['calc', 'guest:stride,log=dirty-bitmap'], "Did you mean 'bitmap'? "],
    [['calc', 'guest:stride,clear-chunk=8PB'], 'Units: B, KiB'],
    [['calc', 'guest:stride,rate=1PB/s'], 'Units: B/s, KiB/s'],
    [
      ['calc', 'guest:stride,pages=99999999999999999999999'],
      'Give a whole number from 0 to 9007199254740991.',
    ],
    [['calc', 'guest:stride,entries=5'], "Did you mean 'ring-entries'? "],
    [['calc', 'guest:stride', '--window', '1'], 'Did you mean 1s?'],
    [['calc', 'guest:stride', '--window', '1m'], 'Did you mean 1min? '],
    [['calc', 'guest:stride', '--window', '1sec'], 'Did you mean 1s? '],
    [['calc', 'guest:stride', '--mode', 'dirtyring'], "Did you mean 'dirty-ring'? "],
    [['calc', 'guest:stride', '--mode', 'bitmap'], "Did you mean 'dirty-bitmap'? "],
    [['calc', 'guest:stride', '--mode', 'sampling'], "Did you mean 'page-sampling'? "],
    [['calc', 'guest:stride', '--unit', 'Mbps'], 'Did you mean Mbit/s? '],
    [['calc', 'stride,pages=3'], "Did you mean 'guest:stride,pages=3'? "],
    [
      ['calc', 'guest:stride', 'memory=4GiB'],
      'A target is one word, with commas between its options',
    ],
    [['demo', '--workload', 'strid'], "Did you mean 'stride'? "],
    [['demo', '--log-level', 'inf'], "Did you mean 'info'? "],
    [['demo', '--memory', '2G'], 'Did you mean 2GiB? '],
  ])('for %j begins with %s', async (args, meant) => {
    const { status, stdout } = await dirtyrate([...args, '--json'])
    expect(status).toBe(2)
    const { hint } = JSON.parse(stdout).error
    expect(hint.slice(0, meant.length)).toBe(meant)
  })
})

it.each([
  [['curve'], "missing required argument 'target'"],
  [['clac'], "unknown command 'clac' (Did you mean calc?)"],
  [['calc', 'guest:idle', '--windo', '1s'], "unknown option '--windo' (Did you mean --window?)"],
  [['calc', 'guest:idle', '-j'], "unknown option '-j'"],
  [['calc', 'guest:idle', '--window'], "option '--window <duration>' argument missing"],
  [['help', 'calc', 'watch'], 'too many arguments'],
])('a hint for %j proposes no empty word', async (args, message) => {
  const { status, stdout } = await dirtyrate([...args, '--json'])
  expect(status).toBe(2)
  const { error } = JSON.parse(stdout)
  expect(error.message).toContain(message)
  expect(error.hint).toBe('See dirtyrate --help, and --help of each command.')
})

it.each([
  ['nu1', /^Write it as .* dirtyrate list shows the virtual machines and their targets\.$/],
  ['qmp:', /^Write it as 'qmp:SOCKET'\. dirtyrate list shows the virtual machines/],
  ['libvirt:,force=on', /^Write it as 'libvirt:DOMAIN'\. dirtyrate list shows/],
  ['guest:', /^Write it as 'guest:stride'\.$/],
  ['kernel:', /^Write it as 'kernel:FILE'\.$/],
  ['pid:abc', /^Write it as pid:4711\. dirtyrate list shows/],
])('a hint for the target %s says where targets are found', async (uri, hint) => {
  await expect(openTarget(uri)).rejects.toMatchObject({
    code: 'ERR_ARGUMENT',
    hint: expect.stringMatching(hint),
  })
})

it.each([
  [['curve', 'guest:idle', '--all'], '--all is an option of calc and watch. See '],
  [['calc', 'guest:idle', '--csv'], '--csv is an option of curve and watch. See '],
  [['list', '--csv'], '--csv is an option of curve and watch. See '],
  [['calc', 'guest:idle', '--socket=/x'], '--socket is an option of qmp. See '],
  [['list', '-o', 'f'], '-o is an option of guest. See '],
])('a hint for %j says which command has the option', async (args, hint) => {
  const { status, stdout } = await dirtyrate([...args, '--json'])
  expect(status).toBe(2)
  expect(JSON.parse(stdout).error.hint.slice(0, hint.length)).toBe(hint)
})

describe('the likely target', () => {
  it.each([
    ['stride', 'guest:stride'],
    ['hotcold,pages=5', 'guest:hot-cold,pages=5'],
    ['guest', 'guest:stride'],
    ['guest/idle', 'guest:idle'],
    ['guest=stride,pages=3', 'guest:stride,pages=3'],
    ['guest:stride:pages=3', 'guest:stride,pages=3'],
    ['guest:stride pages=3', 'guest:stride,pages=3'],
    ['guest:stride, pages=3', 'guest:stride,pages=3'],
    ['guest:stride,,pages=3', 'guest:stride,pages=3'],
    ['guest:stride,memory:4GiB', 'guest:stride,memory=4GiB'],
    ['guest:stride,pages=25,600', 'guest:stride,pages=25600'],
    ['guest:stride,pages=1,234,567,vcpus=2', 'guest:stride,pages=1234567,vcpus=2'],
    ['/boot/vmlinuz,memory=1GiB', 'kernel:/boot/vmlinuz,memory=1GiB'],
    [String(process.pid), `pid:${process.pid}`],
    [`${process.pid},min-size=1MiB`, `pid:${process.pid},min-size=1MiB`],
  ])('for %s is %s', (uri, meant) => expect(likelyTarget(uri, schemes)).toBe(meant))

  it('is in the hint of openTarget() too', async () => {
    await expect(openTarget('stride,pages=3')).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      hint: expect.stringMatching(/^Did you mean 'guest:stride,pages=3'\? Write it as /),
    })
  })

  it('for the name of a file that there is, is that kernel', () => {
    const file = folder()('bzImage', '')
    expect(likelyTarget(file, schemes)).toBe(`kernel:${file}`)
  })

  it.each([
    'nonsense',
    // No process has so large a number.
    '99999999',
    'qemu:x',
    'qemu:/run/vm.sock',
    'guest:nonsense',
    'guest:stride,pages=3',
    'kernel:a b',
    '',
  ])('for %s is none', uri => expect(likelyTarget(uri, schemes)).toBeUndefined())
})
