/** What a target of libvirt says where there is no virsh, no daemon, or nobody that answers. */

import { chmodSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { openTarget } from '../../../ts/index.js'
import { failure } from '../../../ts/targets/libvirt/connection.js'
import { parseDomainStats } from '../../../ts/targets/libvirt/domain-stats.js'
import { startVirsh, virsh } from '../../../ts/targets/libvirt/virsh.js'
import { cli, run } from '../../fixtures/command.js'
import { folder } from '../../fixtures/elf.js'
import { describeInstalled } from '../../fixtures/installed-programs.js'

it('without virsh the command ends with 3, and names the package', async () => {
  const { status, stdout } = await run(process.execPath, [cli, 'calc', 'libvirt:x', '--json'], {
    env: { PATH: '/nowhere' },
  })
  expect(status).toBe(3)
  expect(JSON.parse(stdout).error).toMatchObject({
    code: 'ERR_PROGRAM_ABSENT',
    hint: expect.stringContaining('libvirt-clients'),
  })
})

it('a virsh whose own child holds its pipes is left when the time is up', async () => {
  const file = folder()('virsh', '#!/bin/sh\nsleep 1000 & echo $! >"$0.pid"\nwait\n')
  chmodSync(file, 0o755)
  const before = process.env.PATH
  process.env.PATH = `${dirname(file)}:${before}`
  onTestFinished(() => {
    process.env.PATH = before
    for (const pid of children) process.kill(pid)
  })
  const children: number[] = []
  const child = async (): Promise<void> => {
    await expect.poll(() => Number(readFileSync(`${file}.pid`, 'utf8'))).toBeGreaterThan(0)
    children.push(Number(readFileSync(`${file}.pid`, 'utf8')))
    rmSync(`${file}.pid`)
  }
  const asked = virsh(['list'], { connect: 'test:///default', timeoutMs: 2000 })
  await child()
  expect((await asked).status).toBeUndefined()
  const events = startVirsh(['event'], 'test:///default')
  await child()
  expect(await events.end()).toBe('')
})

describeInstalled('virsh', 'with virsh', () => {
  it('a daemon that is not there is said to be absent', async () => {
    await expect(
      openTarget('libvirt:x,connect=qemu+unix:///system?socket=/nowhere'),
    ).rejects.toMatchObject({
      code: 'ERR_TARGET_ABSENT',
      hint: expect.stringContaining('systemctl start libvirtd'),
    })
    await expect(openTarget('libvirt:x,connect=foo')).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: "connect: 'foo' is no URI of a libvirt with QEMU",
    })
  })

  it('the environment names the connection, unless the target does', async () => {
    const env = { LIBVIRT_DEFAULT_URI: 'qemu+unix:///system?socket=/by-the-environment' }
    const named = 'libvirt:x,connect=qemu+unix:///system?socket=/by-the-target'
    const [one, other] = await Promise.all(
      ['libvirt:x', named].map(uri => run(process.execPath, [cli, 'calc', uri], { env })),
    )
    expect(one?.stderr).toContain('/by-the-environment')
    expect(other?.stderr).toContain('/by-the-target')
  })

  it('a daemon that never answers is left when the time is up, or by the signal', async () => {
    const socket = join(dirname(folder()('x', '')), 'silent')
    const server = createServer(() => {}).listen(socket)
    onTestFinished(() => void server.close())
    const connect = `qemu+unix:///system?socket=${socket}`
    const answer = await virsh(['list'], { connect, timeoutMs: 200 })
    expect(answer.status).toBeUndefined()
    const controller = new AbortController()
    const reason = new Error('enough')
    setTimeout(() => controller.abort(reason), 200)
    const { signal } = controller
    await expect(openTarget(`libvirt:x,connect=${connect}`, { signal })).rejects.toBe(reason)
    const later = new AbortController()
    setTimeout(() => later.abort(reason), 200)
    // Longer than a test may take.
    const asked = virsh(['list'], { connect, timeoutMs: 3_600_000, signal: later.signal })
    await expect(asked).rejects.toBe(reason)
  })
})

it.each([
  ['connect=', 'ERR_ARGUMENT'],
  ['monitor=maybe', 'ERR_ARGUMENT'],
  ['conect=qemu:///system', 'ERR_ARGUMENT'],
])('the option %s is refused', async (option, code) => {
  await expect(openTarget(`libvirt:x,${option}`)).rejects.toMatchObject({ code })
})

it.each([
  ['connect=qemu+ssh://host/system,outside=yes', 'another host'],
  ['monitor=yes,outside=yes', 'monitor=yes'],
  ['force=on,outside=yes', 'force=on'],
])(
  'from outside a domain of another host, or in another way, is refused: %s',
  async (options, why) => {
    await expect(openTarget(`libvirt:x,${options}`)).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining(why),
    })
  },
)

describe('what virsh prints', () => {
  it.each([
    ["error: failed to get domain 'x'", 'ERR_TARGET_ABSENT'],
    ['error: operation forbidden: read only access prevents virDomain', 'ERR_TARGET_PERMISSION'],
    [
      'error: failed to connect to the hypervisor\nerror: Unable to get system bus connection: x',
      'ERR_TARGET_PERMISSION',
    ],
    [
      'error: failed to connect to the hypervisor\nerror: authentication unavailable: no polkit agent',
      'ERR_TARGET_PERMISSION',
    ],
    [
      "error: failed to connect to the hypervisor\nerror: Failed to connect socket to '/x': No such file",
      'ERR_TARGET_ABSENT',
    ],
    [
      'error: Timed out during operation: cannot acquire state change lock (held by monitor=x)',
      'ERR_TARGET_TIMEOUT',
    ],
    [
      "error: unable to execute QEMU command 'calc-dirty-rate': the dirty rate is already being measured.",
      'ERR_MEASURING',
    ],
    [
      'error: Operation not supported: dirty-ring calculation mode requires dirty-ring feature enabled.',
      'ERR_MODE_UNAVAILABLE',
    ],
    ['error: Requested operation is not valid: domain is not running', 'ERR_STATE'],
    ['error: something new', 'ERR_QAPI'],
  ])('%j means %s', (text, code) => {
    const error = failure(text, 'x', 'qemu:///system')
    expect(error.code).toBe(code)
    expect(error.details.virsh).toBe(text.replaceAll('error: ', ''))
  })

  it('of statistics is read for each domain, whatever its name has', () => {
    const text = "Domain: 'a'\n  state.state=1\n  x=\n\nDomain: 'it's b'\n  state.state=5\n\n"
    expect([...parseDomainStats(text)].map(([name, fields]) => [name, [...fields]])).toEqual([
      [
        'a',
        [
          ['state.state', '1'],
          ['x', ''],
        ],
      ],
      ["it's b", [['state.state', '5']]],
    ])
    expect(parseDomainStats('').size).toBe(0)
  })
})
