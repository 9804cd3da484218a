/** The candidates that complete a command line. */

import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { candidates } from '../../ts/cli/complete.js'
import { makeProgram } from '../../ts/cli/program.js'
import { rateUnits } from '../../ts/ground/units.js'
import { workloadKinds } from '../../ts/index.js'
import { GUEST_OPTIONS, KERNEL_OPTIONS, MACHINE_OPTIONS } from '../../ts/targets/vm/options.js'
import { dirtyrate } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'

const program = makeProgram(async () => {})
const words = (...typed: string[]): string[] => candidates(program, typed).map(({ word }) => word)

describe('the candidates', () => {
  it('begin with the commands that the help has', () => {
    expect(words('')).toEqual([
      'capabilities',
      'demo',
      'calc',
      'curve',
      'watch',
      'heatmap',
      'top',
      'predict',
      'plan',
      'serve',
      'qmp',
      'guest',
      'list',
      'doctor',
      'compare',
      'audit',
      'completion',
      'help',
    ])
    expect(words('c')).toEqual(['capabilities', 'calc', 'curve', 'compare', 'completion'])
    expect(words('--quiet', 'wa')).toEqual(['watch'])
    expect(words('help', 'de')).toEqual(['demo'])
    expect(words('help', 'demo', '')).toEqual([])
  })

  it.each(program.commands.filter(command => !['help', 'complete'].includes(command.name())))(
    'are every option of the command %#',
    command => {
      const long = [...command.options, ...program.options].map(option => option.long)
      expect(words(command.name(), '--').toSorted()).toEqual([...long, '--help'].sort())
    },
  )

  it('are the values of an option, in the word after it or behind its equals sign', () => {
    expect(words('calc', '--mode', '')).toEqual([
      'page-sampling',
      'dirty-ring',
      'dirty-bitmap',
      'soft-dirty',
      'auto',
    ])
    expect(words('calc', 'guest:idle', '--mode', 'dirty-b')).toEqual(['dirty-bitmap'])
    expect(words('calc', '--mode=dirty-r')).toEqual(['--mode=dirty-ring'])
    expect(words('watch', '--unit', 'G')).toEqual(rateUnits.filter(unit => unit.startsWith('G')))
    expect(words('--log-level', 'd')).toEqual(['debug'])
    expect(words('demo', '--workload', 's')).toEqual(['stride', 'silent'])
    expect(words('calc', '--window', '')).toEqual([])
    expect(words('calc', '--nonsense=')).toEqual([])
  })

  it('are the schemes, the workloads and the options of a target', () => {
    expect(words('calc', '')).toEqual(['guest:', 'kernel:', 'qmp:', 'libvirt:', 'pid:'])
    expect(words('calc', '--json', 'guest:')).toEqual(workloadKinds.map(kind => `guest:${kind}`))
    const machine = Object.keys(MACHINE_OPTIONS)
    expect(words('calc', 'guest:stride,')).toEqual(
      [...Object.keys(GUEST_OPTIONS), ...machine]
        .filter(name => name !== 'seed')
        .map(name => `guest:stride,${name}=`),
    )
    expect(words('calc', 'kernel:a,')).toEqual(
      [...Object.keys(KERNEL_OPTIONS), ...machine].map(name => `kernel:a,${name}=`),
    )
    // What is there already is not offered again.
    expect(words('calc', 'guest:stride,pages=3,pl')).toEqual(['guest:stride,pages=3,placement='])
    expect(words('calc', 'guest:stride,log=')).toEqual([
      'guest:stride,log=bitmap',
      'guest:stride,log=ring',
    ])
    expect(words('calc', 'guest:stride,memory=')).toEqual([])
    expect(words('calc', 'qemu:')).toEqual([])
    // Only some commands take several targets.
    expect(words('curve', 'guest:stride', '')).toEqual([])
    expect(words('calc', 'guest:stride', '')).toEqual(words('calc', ''))
    expect(words('completion', '')).toEqual(['bash', 'zsh', 'fish'])
  })

  it('are files where a file is named', () => {
    const file = folder()('bzImage', '')
    const path = dirname(file)
    mkdirSync(join(path, 'boot'))
    expect(words('calc', `kernel:${path}/b`).toSorted()).toEqual([
      `kernel:${path}/boot/`,
      `kernel:${path}/bzImage`,
    ])
    expect(words('calc', `kernel:x,initrd=${path}/bz`)).toEqual([`kernel:x,initrd=${file}`])
    expect(words('guest', '-o', `${path}/bz`)).toEqual([file])
    expect(words('guest', '-o', '/nonexistent/')).toEqual([])
  })

  it('are sockets, and folders that may have some, where a socket is named', async () => {
    const file = folder()('plain', '')
    const path = dirname(file)
    mkdirSync(join(path, 'run'))
    const server = createServer().listen(join(path, 'vm.sock'))
    onTestFinished(() => {
      server.close()
    })
    await once(server, 'listening')
    expect(words('calc', `qmp:${path}/`).toSorted()).toEqual([
      `qmp:${path}/run/`,
      `qmp:${path}/vm.sock`,
    ])
    expect(words('calc', `qmp:${path}/vm.sock,`)).toEqual([`qmp:${path}/vm.sock,force=`])
  })

  it('leave out a file whose name a line cannot have', () => {
    const file = folder()('plain', '')
    const path = dirname(file)
    // A newline, a tab, an escape sequence, one of 8 bits, and a byte that is no UTF-8.
    for (const name of ['p\nq', 'p\tq', 'p\x1b[31m', 'p\x9b31m'])
      writeFileSync(join(path, name), '')
    writeFileSync(Buffer.concat([Buffer.from(`${path}/p`), Buffer.of(0xff)]), '')
    expect(words('guest', '-o', `${path}/p`)).toEqual([file])
    expect(words('calc', `kernel:${path}/p`)).toEqual([`kernel:${file}`])
  })

  it('have the commas of a file doubled in a target, and only there', () => {
    const file = folder()('a,b', '')
    const path = dirname(file)
    const doubled = file.replace(',', ',,')
    expect(words('guest', '-o', `${path}/a`)).toEqual([file])
    expect(words('calc', `kernel:${path}/a`)).toEqual([`kernel:${doubled}`])
    expect(words('calc', `kernel:${path}/a,,`)).toEqual([`kernel:${doubled}`])
    expect(words('calc', `kernel:x,initrd=${path}/a,,b`)).toEqual([`kernel:x,initrd=${doubled}`])
    expect(words('calc', `kernel:${doubled},init`)).toEqual([`kernel:${doubled},initrd=`])
    expect(words('calc', 'kernel:a,,,init')).toEqual(['kernel:a,,,initrd='])
  })

  it('are options that the workload has a use for, and none that objects bring along', () => {
    expect(words('calc', 'guest:idle,')).toEqual(
      Object.keys(MACHINE_OPTIONS).map(name => `guest:idle,${name}=`),
    )
    expect(words('calc', 'guest:stride,se')).toEqual([])
    expect(words('calc', 'guest:random,se')).toEqual(['guest:random,seed='])
    expect(words('calc', 'guest:stride,constructor=')).toEqual([])
  })
})

it('the command prints them with their meanings, and none is no failure', async () => {
  const { status, stdout } = await dirtyrate(['complete', '--', 'calc', '--del'])
  expect({ status, stdout }).toEqual({
    status: 0,
    stdout: '--delay\twait this long before the first window\n',
  })
  expect(await dirtyrate(['complete', '--', 'nonsense', ''])).toMatchObject({
    status: 0,
    stdout: expect.any(String),
    stderr: '',
  })
})
