/** The QMP server over a real VM: its socket, its clients, good and bad, and its end. */

import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  createQmpServer,
  DirtyRateError,
  type LogEvent,
  openTarget,
  type QmpServer,
  type QmpServerOptions,
  type ServedTarget,
  setLog,
  type VirtualMachine,
  workload,
} from '../../ts/index.js'
import type { ClientLimits } from '../../ts/qmp/server/client.js'
import { serve } from '../../ts/qmp/server/server.js'
import { run } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'
import { created, running } from '../fixtures/machine.js'
import { RawClient } from '../fixtures/raw-client.js'

/** How the folder of each socket of this file begins. */
const FOLDER = `dirtyrate-served-${process.pid}-`

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), FOLDER))
  onTestFinished(() => rmSync(made, { recursive: true, force: true }))
  return made
}

async function served(
  target: ServedTarget,
  options: Partial<QmpServerOptions> = {},
): Promise<QmpServer> {
  const server = await createQmpServer(target, { socket: join(folder(), 'qmp'), ...options })
  onTestFinished(() => server.close())
  return server
}

const started = (): Promise<VirtualMachine> =>
  running(workload.stride({ pages: 500, rate: '10MiB/s' }))

/** A target of somebody else's VM: everything but who made it is real. */
function foreign(vm: VirtualMachine, changed: Partial<ServedTarget> = {}): ServedTarget {
  return {
    uri: vm.uri,
    describe: () => vm.describe(),
    calcDirtyRate: args => vm.calcDirtyRate(args),
    queryDirtyRate: args => vm.queryDirtyRate(args),
    ...changed,
  }
}

const controlled = (vm: VirtualMachine): Partial<ServedTarget> => ({
  control: {
    isOwn: false,
    pause: () => vm.pause(),
    resume: () => vm.resume(),
    shutdown: () => vm.shutdown(),
  },
})

const execute = (command: string, id?: number): string =>
  JSON.stringify({ execute: command, ...(id === undefined ? {} : { id }) })

const returned = async (client: RawClient, command: string): Promise<unknown> =>
  JSON.parse(await client.ask(execute(command))).return

describeKvm('the socket of a server', () => {
  it('can be connected to by its owner alone, whatever the mask of the process', async () => {
    const before = process.umask(0)
    try {
      const { socket } = await served(await created())
      expect(statSync(socket).mode & 0o777).toBe(0o600)
      expect(process.umask()).toBe(0)
    } finally {
      process.umask(before)
    }
  })

  it('replaces one whose server was killed', async () => {
    const socket = join(folder(), 'qmp')
    const killed = `require('net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 'SIGKILL'))`
    expect(spawnSync(process.execPath, ['--eval', killed]).signal).toBe('SIGKILL')
    expect(lstatSync(socket).isSocket()).toBe(true)
    await served(await created(), { socket })
    expect(await (await RawClient.connect(socket)).until('QMP')).toContain('dirtyrate')
  })

  it('does not take the place of one that is served', async () => {
    const vm = await created()
    const { socket } = await served(vm)
    await expect(createQmpServer(vm, { socket })).rejects.toMatchObject({
      code: 'ERR_SOCKET',
      message: `${socket}: another program uses this socket`,
    })
    expect(await (await RawClient.connect(socket)).until('QMP')).toContain('dirtyrate')
  })

  it('does not take the place of a file, of a folder or of a link', async () => {
    const vm = await created()
    const made = folder()
    const { socket: live } = await served(vm)
    const [file, dir, link] = ['file', 'dir', 'link'].map(name => join(made, name)) as [
      string,
      string,
      string,
    ]
    writeFileSync(file, 'mine')
    mkdirSync(dir)
    symlinkSync(live, link)
    for (const socket of [file, dir, link]) {
      await expect(createQmpServer(vm, { socket })).rejects.toMatchObject({
        code: 'ERR_SOCKET',
        message: `${socket}: this is no socket, and it is left alone`,
      })
    }
    expect(readFileSync(file, 'utf8')).toBe('mine')
    expect(lstatSync(link).isSymbolicLink()).toBe(true)
  })

  it('says why it cannot be made', async () => {
    const vm = await created()
    const long = `/tmp/${'ä'.repeat(60)}`
    await expect(createQmpServer(vm, { socket: long })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: `socket: '${long}' has 125 bytes, and the path of a socket has at most 107`,
    })
    const longest = join(folder(), 'q')
    const socket = longest + 'q'.repeat(107 - longest.length)
    await (await served(vm, { socket })).close()
    await expect(createQmpServer(vm, { socket: '/no/such/folder' })).rejects.toMatchObject({
      code: 'ERR_SOCKET',
      message: '/no/such/folder: its folder does not exist',
    })
    await expect(createQmpServer(vm, { socket: '' })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
    })
  })

  it('is removed at the end, but not what took its place', async () => {
    const vm = await created()
    const gone = await served(vm)
    await gone.close()
    await gone.close()
    expect(existsSync(gone.socket)).toBe(false)
    const replaced = await served(vm)
    rmSync(replaced.socket)
    writeFileSync(replaced.socket, 'mine')
    await replaced.close()
    expect(readFileSync(replaced.socket, 'utf8')).toBe('mine')
  })

  it('is not made if the signal was aborted', async () => {
    const socket = join(folder(), 'qmp')
    const reason = new Error('not now')
    const signal = AbortSignal.abort(reason)
    await expect(createQmpServer(await created(), { socket, signal })).rejects.toBe(reason)
    expect(existsSync(socket)).toBe(false)
  })
})

describeKvm('a client', () => {
  it('measures, and gets what the target says', async () => {
    const vm = await started()
    const client = await RawClient.negotiated((await served(vm)).socket)
    const calc = {
      execute: 'calc-dirty-rate',
      arguments: { 'calc-time': 50, 'calc-time-unit': 'millisecond', mode: 'dirty-bitmap' },
    }
    expect(await client.ask(JSON.stringify(calc))).toBe('{"return": {}}')
    while (
      ((await returned(client, 'query-dirty-rate')) as { status: string }).status !== 'measured'
    );
    expect(await returned(client, 'query-dirty-rate')).toEqual(await vm.queryDirtyRate())
    expect(vm.history).toHaveLength(1)
    expect(await returned(client, 'query-name')).toEqual({ name: vm.uri })
  })

  it('gets a refusal in words of ours where QEMU has none', async () => {
    const vm = await started()
    await vm.pause()
    const client = await RawClient.negotiated((await served(vm)).socket)
    const calc = { execute: 'calc-dirty-rate', arguments: { 'calc-time': 1 }, id: 1 }
    const { id, error } = JSON.parse(await client.ask(JSON.stringify(calc)))
    expect({ id, class: error.class }).toEqual({ id: 1, class: 'GenericError' })
    expect(error.desc).toMatch(/paused/)
  })

  it('gets its answers in order, also those to what it sent before it ended its side', async () => {
    const { socket } = await served(await started())
    const client = await RawClient.connect(socket)
    const ids = Array.from({ length: 200 }, (_, id) => id)
    const asked = ids.map(id => execute(id % 2 === 0 ? 'query-status' : 'query-commands', id))
    client.socket.end(execute('qmp_capabilities') + asked.join(''))
    const lines = (await client.end()).trimEnd().split('\r\n').slice(2)
    expect(lines.map(line => JSON.parse(line).id)).toEqual(ids)
  })

  it('is one of a hundred, and each gets its own answers', async () => {
    const server = await served(await started())
    const clients = await Promise.all(
      Array.from({ length: 100 }, () => RawClient.negotiated(server.socket)),
    )
    expect(server.clients).toBe(100)
    const answers = await Promise.all(
      clients.map((client, id) => client.ask(execute('query-status', id))),
    )
    expect(answers.map(answer => JSON.parse(answer).id)).toEqual(clients.map((_, id) => id))
  })

  it('is told if there are too many, and is served when another one has left', async () => {
    const server = await served(await created())
    const events: LogEvent[] = []
    setLog('warn', event => events.push(event))
    onTestFinished(() => setLog('off', null))
    const clients = await Promise.all(
      Array.from({ length: 256 }, () => RawClient.negotiated(server.socket)),
    )
    const late = await RawClient.connect(server.socket)
    late.send(execute('query-status'))
    const desc = 'the server has 256 clients, and takes no more: try again later'
    const said = { error: { class: 'GenericError', desc } }
    expect(JSON.parse(await late.end())).toEqual(said)
    expect(events.map(({ message }) => message)).toEqual([desc])
    const busy = { code: 'ERR_QMP_BUSY', message: `${server.socket}: ${desc}` }
    await expect(openTarget(`qmp:${server.socket}`)).rejects.toMatchObject(busy)
    expect(server.clients).toBe(256)
    clients[0]?.socket.destroy()
    await expect.poll(() => server.clients).toBe(255)
    await RawClient.negotiated(server.socket)
  })
})

describeKvm('a bad client', () => {
  const limits: ClientLimits = { outputBytes: 2 ** 18, unreadMs: 200 }

  async function besides(
    bad: (client: RawClient) => Promise<void>,
  ): Promise<{ server: QmpServer; good: RawClient }> {
    const socket = join(folder(), 'qmp')
    const server = await serve(await started(), { socket }, limits)
    onTestFinished(() => server.close())
    const good = await RawClient.negotiated(socket)
    await bad(await RawClient.negotiated(socket))
    expect(await returned(good, 'query-status')).toEqual({ status: 'running', running: true })
    return { server, good }
  }

  it('that sends rubbish gets errors', async () => {
    await besides(async client => {
      client.send(Uint8Array.from({ length: 1000 }, (_, at) => (at * 37) % 256))
      client.send(`\xff${execute('query-status', 1)}`)
      await client.until('"id": 1')
      expect(client.received).toContain('JSON parse error')
    })
  })

  it('that sends rubbish and reads every answer keeps no other one waiting', async () => {
    const { socket } = await served(await started())
    // A process of its own reads while the server answers, and asks as another client too.
    const program = `
      const { connect } = require('node:net')
      let answers = 0
      const bad = connect(process.argv[1])
      bad.once('data', () => {
        bad.on('data', data => { answers += String(data).split('stray').length - 1 })
        bad.write(Buffer.alloc(200_000, 0xff))
        const good = connect(process.argv[1])
        good.on('data', data => {
          if (String(data).includes('"id": 7')) process.exit(console.log(answers))
        })
        good.write('{"execute":"qmp_capabilities"}{"execute":"query-status","id":7}')
      })`
    const { status, stdout } = await run(process.execPath, ['--eval', program, socket])
    expect(status).toBe(0)
    // One read of the socket has up to 65,536 of the bytes, and the server answers each byte.
    expect(Number(stdout)).toBeLessThan(32_768)
  })

  it('that sends half a command and leaves is forgotten', async () => {
    const { server } = await besides(async client => {
      client.send('{"execute":"query-sta')
      client.socket.end()
      await client.end()
    })
    expect(server.clients).toBe(1)
  })

  it('that sends 100 MiB without an end gets an error, and is hung up on', async () => {
    await besides(async client => {
      const piece = Buffer.alloc(2 ** 20, 'x')
      client.send('{"')
      for (let sent = 0; sent < 100 && !client.ended; sent++) {
        if (!client.socket.write(piece))
          await new Promise<void>(resolve => {
            client.socket.once('drain', resolve)
            client.socket.once('close', () => resolve())
          })
      }
      expect(await client.end()).toContain('JSON token size limit exceeded')
    })
  })

  it('that never reads is dropped', async () => {
    const { server } = await besides(async client => {
      client.socket.pause()
      const many = execute('query-qmp-schema').repeat(1000)
      client.send(many)
      const gone = new Promise<void>(resolve => client.socket.once('error', () => resolve()))
      const push = setInterval(() => client.send(many), 20)
      await gone
      clearInterval(push)
    })
    expect(server.clients).toBe(1)
  })
})

describeKvm('control of the VM', () => {
  it('stops, continues and ends a VM of ours, and tells every client', async () => {
    const vm = await started()
    const server = await served(vm)
    const [actor, other] = [
      await RawClient.negotiated(server.socket),
      await RawClient.negotiated(server.socket),
    ]
    const early = await RawClient.connect(server.socket)
    actor.send(execute('stop') + execute('stop') + execute('query-status', 1))
    expect(await actor.until('"id": 1')).toContain('"status": "paused", "running": false')
    expect(vm.state).toBe('paused')
    actor.send(execute('cont') + execute('cont') + execute('query-status', 2))
    expect(await actor.until('"id": 2')).toContain('"status": "running", "running": true')
    actor.send(execute('quit', 3))
    const all = (await actor.end()).trimEnd().split('\r\n')
    expect(all.at(-1)).toBe('{"return": {}, "id": 3}')
    expect(await server.ended).toBe('quit')
    expect(vm.state).toBe('shutdown')
    expect(existsSync(server.socket)).toBe(false)
    const told = (await other.end()).trimEnd().split('\r\n').slice(-3)
    const events = told.map(line => JSON.parse(line))
    expect(events.map(({ event }) => event)).toEqual(['STOP', 'RESUME', 'SHUTDOWN'])
    expect(events[2].data).toEqual({ guest: false, reason: 'host-qmp-quit' })
    for (const { timestamp } of events) {
      expect(Math.abs(timestamp.seconds - Date.now() / 1000)).toBeLessThan(3600)
      expect(timestamp.microseconds).toBeLessThan(1e6)
    }
    expect(await early.end()).not.toContain('event')
  })

  it('is not given over the VM of somebody else, unless it is allowed', async () => {
    const vm = await started()
    const refused = await served(foreign(vm, controlled(vm)))
    const client = await RawClient.negotiated(refused.socket)
    expect(JSON.parse(await client.ask(execute('stop'))).error).toEqual({
      class: 'CommandNotFound',
      desc: 'Command stop has been disabled: the VM is not one of this server, which was started without --allow-control',
    })
    expect(refused.commands).not.toContain('stop')
    expect(vm.state).toBe('running')
    const allowed = await served(foreign(vm, controlled(vm)), { allowControl: true })
    const other = await RawClient.negotiated(allowed.socket)
    other.send(execute('stop') + execute('query-status', 1))
    expect(await other.until('"id": 1')).toContain('"event": "STOP"')
    expect(vm.state).toBe('paused')
    other.send(execute('quit'))
    await other.end()
    expect(await allowed.ended).toBe('quit')
  })

  it('cannot be allowed where there is none', async () => {
    const target = foreign(await created())
    await expect(served(target, { allowControl: true })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
    })
    const client = await RawClient.negotiated((await served(target)).socket)
    expect(JSON.parse(await client.ask(execute('quit'))).error).toEqual({
      class: 'CommandNotFound',
      desc: 'Command quit has been disabled: this target can be measured, but not controlled',
    })
  })
})

describeKvm('a server ends', () => {
  it('with its guest', async () => {
    const vm = await started()
    const server = await served(vm)
    const client = await RawClient.negotiated(server.socket)
    await vm.shutdown()
    expect(await server.ended).toBe('guest-shutdown')
    expect(await client.end()).toContain('"data": {"guest": true, "reason": "guest-shutdown"}')
    expect(existsSync(server.socket)).toBe(false)
  })

  it('when its target is no longer there, which a command notices', async () => {
    const gone = (): Promise<never> =>
      Promise.reject(new DirtyRateError('ERR_TARGET_GONE', 'the process has ended'))
    const target = foreign(await created(), { describe: gone, queryDirtyRate: gone })
    const server = await served(target)
    const client = await RawClient.negotiated(server.socket)
    client.send(execute('query-dirty-rate'))
    // The event SHUTDOWN may come before the answer.
    const lines = (await client.until('"error"')).split('\r\n')
    expect(JSON.parse(lines.find(line => line.includes('"error"')) ?? '').error).toEqual({
      class: 'GenericError',
      desc: 'the process has ended',
    })
    expect(await server.ended).toBe('target-gone')
  })

  it('not, if only its job failed so', async () => {
    const gone = (): Promise<never> =>
      Promise.reject(new DirtyRateError('ERR_TARGET_GONE', 'the monitor had closed'))
    const server = await served(foreign(await created(), { queryDirtyRate: gone }))
    const client = await RawClient.negotiated(server.socket)
    await client.ask(execute('query-dirty-rate'))
    expect(await returned(client, 'query-status')).toEqual({ status: 'prelaunch', running: false })
  })

  it('with the answer that a client waits for', async () => {
    const vm = await created()
    let begun = (): void => {}
    const asked = new Promise<void>(resolve => {
      begun = resolve
    })
    const slow = async (): ReturnType<VirtualMachine['describe']> => {
      begun()
      await sleep(100)
      return vm.describe()
    }
    const server = await served(foreign(vm, { describe: slow }))
    const client = await RawClient.negotiated(server.socket)
    client.send(execute('query-status', 1) + execute('query-status', 2))
    await asked
    await server.close()
    const all = await client.end()
    expect(all).toContain('"id": 1')
    expect(all).not.toContain('"id": 2')
  })

  it('at once, also with clients that say nothing', async () => {
    const server = await served(await started())
    const clients = [
      await RawClient.connect(server.socket),
      await RawClient.negotiated(server.socket),
    ]
    await server.close()
    expect(await server.ended).toBe('closed')
    await Promise.all(clients.map(client => client.end()))
    expect(server.clients).toBe(0)
  })
})

describe('a worker thread', () => {
  it('is told that it cannot serve', async () => {
    const text = `
      const { parentPort } = require('node:worker_threads')
      const { createQmpServer } = require('dirtyrate')
      createQmpServer({ uri: 'guest:idle' }, { socket: '/tmp/never' })
        .catch(({ code, message }) => parentPort.postMessage({ code, message }))`
    const [answer] = await once(new Worker(text, { eval: true }), 'message')
    expect(answer).toEqual({
      code: 'ERR_UNSUPPORTED',
      message: 'a worker thread cannot set the mode of a socket',
    })
  })
})

describe('the process', () => {
  it('has no socket left', () => {
    const open = readFileSync('/proc/net/unix', 'utf8')
    expect(open.split('\n').filter(line => line.includes(FOLDER))).toEqual([])
  })
})
