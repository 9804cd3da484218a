/** The server over targets that are not ours, and as a monitor for our own client. */

import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import {
  createQmpServer,
  openTarget,
  type QmpServer,
  type ServedTarget,
  workload,
} from '../../ts/index.js'
import { serve } from '../../ts/qmp/server/server.js'
import { describeKvm, describeWith } from '../fixtures/kvm.js'
import { running } from '../fixtures/machine.js'
import { RawClient } from '../fixtures/raw-client.js'

interface Qemu {
  readonly pid: number
  execute(command: string): Promise<unknown>
  signal(name: string): void
  kill(): Promise<void>
}
const { Qemu }: { Qemu: { start(args: string[], accel?: string): Promise<Qemu> } } = await import(
  new URL('../../scripts/qemu/qemu.mjs', import.meta.url).href
)

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'dirtyrate-qmp-'))
  onTestFinished(() => rmSync(made, { recursive: true, force: true }))
  return made
}

async function served(target: ServedTarget, allowControl = false): Promise<QmpServer> {
  const server = await createQmpServer(target, { socket: join(folder(), 'served'), allowControl })
  onTestFinished(() => server.close())
  return server
}

async function qemu(): Promise<{ qemu: Qemu; monitor: string }> {
  const monitor = join(folder(), 'qmp')
  const started = await Qemu.start(
    ['-m', '256', '-qmp', `unix:${monitor},server=on,wait=off`],
    'tcg',
  )
  onTestFinished(() => started.kill())
  return { qemu: started, monitor }
}

const returned = async (client: RawClient, execute: string, args = {}): Promise<unknown> =>
  JSON.parse(await client.ask(JSON.stringify({ execute, arguments: args }))).return

const CALC = { 'calc-time': 100, 'calc-time-unit': 'millisecond' }

async function measured(client: RawClient): Promise<unknown> {
  expect(await returned(client, 'calc-dirty-rate', CALC)).toEqual({})
  for (;;) {
    const info = (await returned(client, 'query-dirty-rate')) as { status: string }
    if (info.status === 'measured') return info
  }
}

describeKvm('our own client', () => {
  it('measures by our own server, and reads what the VM says of itself', async () => {
    const vm = await running(workload.stride({ pages: 2000 }))
    const server = await served(vm)
    const target = await openTarget(`qmp:${server.socket}`)
    onTestFinished(() => target.close())
    const { memoryBytes, state } = await target.describe()
    expect({ memoryBytes, state }).toEqual({
      memoryBytes: (await vm.describe()).memoryBytes,
      state: 'running',
    })
    const { qapi } = await target.measureDirtyRate({ window: '200ms', mode: 'dirty-bitmap' })
    // The same measurement, as the VM itself has kept it: the client gets whole MiB/s.
    expect(qapi['dirty-rate']).toBe(vm.history[0]?.qapi['dirty-rate'])
    expect(vm.history[0]?.truth).toBeDefined()
  })
})

describeWith('qemu-system-x86_64', 'a server of a real QEMU', () => {
  it('measures it, shows its state, and ends once a command finds it gone', async () => {
    const { qemu: vm, monitor } = await qemu()
    const target = await openTarget(`qmp:${monitor}`)
    onTestFinished(() => target.close())
    const server = await served(target)
    const client = await RawClient.negotiated(server.socket)
    expect(await returned(client, 'query-status')).toEqual({ status: 'running', running: true })
    expect(await returned(client, 'query-kvm')).toEqual({ enabled: false, present: true })
    expect(await measured(client)).toMatchObject({ status: 'measured', mode: 'page-sampling' })
    expect(server.commands).not.toContain('quit')
    await vm.kill()
    await client.ask('{"execute":"query-status"}')
    expect(await server.ended).toBe('target-gone')
    expect(existsSync(server.socket)).toBe(false)
  })

  it('says that it is paused, and runs again, when somebody else has done that', async () => {
    // The server has one monitor of this QEMU, and the one who stops it has another.
    const { qemu: vm, monitor } = await qemu()
    const target = await openTarget(`qmp:${monitor}`)
    onTestFinished(() => target.close())
    const client = await RawClient.negotiated((await served(target)).socket)
    for (const [command, status] of [
      ['stop', 'paused'],
      ['cont', 'running'],
    ] as const) {
      await vm.execute(command)
      expect(await returned(client, 'query-status')).toEqual({
        status,
        running: status === 'running',
      })
    }
  })

  it('ends with it, also if nobody asks for anything, and says so', async () => {
    const { qemu: vm, monitor } = await qemu()
    const target = await openTarget(`qmp:${monitor}`)
    onTestFinished(() => target.close())
    const socket = join(folder(), 'served')
    const server = await serve(target, { socket }, { lookMs: 50 })
    onTestFinished(() => server.close())
    const client = await RawClient.negotiated(socket)
    await vm.kill()
    expect(await client.end()).toContain('"event": "SHUTDOWN", "data": {"guest": false')
    expect(await server.ended).toBe('target-gone')
  })

  it('stops it, lets it go on, and ends it, if that is allowed', async () => {
    const { monitor } = await qemu()
    const target = await openTarget(`qmp:${monitor}`)
    onTestFinished(() => target.close())
    const server = await served(target, true)
    const [client, other] = [
      await RawClient.negotiated(server.socket),
      await RawClient.negotiated(server.socket),
    ]
    client.send('{"execute":"stop"}{"execute":"query-status","id":1}')
    expect(await client.until('"id": 1')).toContain('{"status": "paused", "running": false}')
    expect((await target.describe()).state).toBe('paused')
    client.send('{"execute":"cont"}{"execute":"query-status","id":2}')
    expect(await client.until('"id": 2')).toContain('{"status": "running", "running": true}')
    client.send('{"execute":"quit","id":3}')
    expect(await client.end()).toContain('{"return": {}, "id": 3}')
    expect(await server.ended).toBe('quit')
    expect((await other.end()).match(/"event": "[A-Z]+"/g)).toEqual([
      '"event": "STOP"',
      '"event": "RESUME"',
      '"event": "SHUTDOWN"',
    ])
    // It may still be ending.
    await expect(target.describe()).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_TARGET_(ABSENT|GONE)$/),
    })
  })

  it('measures its process, tells that it was stopped, and ends with it by itself', async () => {
    const { qemu: vm } = await qemu()
    const target = await openTarget(`pid:${vm.pid}`)
    onTestFinished(() => target.close())
    const server = await served(target)
    const client = await RawClient.negotiated(server.socket)
    expect(await measured(client)).toMatchObject({ status: 'measured', mode: 'page-sampling' })
    vm.signal('SIGSTOP')
    await client.until('"event": "STOP"')
    expect(await returned(client, 'query-status')).toEqual({ status: 'paused', running: false })
    vm.signal('SIGCONT')
    await client.until('"event": "RESUME"')
    await vm.kill()
    expect(await client.end()).toContain('"event": "SHUTDOWN", "data": {"guest": false')
    expect(await server.ended).toBe('target-gone')
    await expect(target.describe()).rejects.toMatchObject({ code: 'ERR_TARGET_GONE' })
  })
})
