/**
 * A client's connection, against a real QEMU, and against peers that are none or that misbehave.
 */

import { Buffer } from 'node:buffer'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Address } from '../../ts/ground/listener.js'
import { QmpConnection, type QmpEvent } from '../../ts/qmp/connection.js'
import { describeWith } from '../fixtures/kvm.js'
import { freePort } from '../fixtures/qemu.js'

interface Qemu {
  readonly pid: number
  execute(command: string, args?: object): Promise<unknown>
  signal(name: string): void
  kill(): Promise<void>
}
const { Qemu }: { Qemu: { start(args: string[], accel?: string): Promise<Qemu> } } = await import(
  new URL('../../scripts/qemu/qemu.mjs', import.meta.url).href
)

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-qmp-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A peer that does `serve` with each client, and the path of its socket. */
async function peer(serve: (client: Socket) => void): Promise<string> {
  const path = join(scratch(), 'sock')
  const server: Server = createServer(client => {
    client.on('error', () => {})
    onTestFinished(() => {
      client.destroy()
    })
    serve(client)
  }).listen(path)
  onTestFinished(() => {
    server.close()
  })
  await once(server, 'listening')
  return path
}

const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": "x"}, "capabilities": ["oob"]}}'

/** A peer that greets, accepts the negotiation, and answers other commands by `answer`. */
const monitor = (answer: (client: Socket, id: string, command: string) => void): Promise<string> =>
  peer(client => {
    client.write(`${GREETING}\r\n`)
    client.on('data', data => {
      for (const line of data.toString().split('\r\n').filter(Boolean)) {
        const { execute, id } = JSON.parse(line)
        if (execute === 'qmp_capabilities') client.write(JSON.stringify({ return: {}, id }))
        else answer(client, id, execute)
      }
    })
  })

async function opened(path: string, answerMs = 10_000): Promise<QmpConnection> {
  const connection = await QmpConnection.open({ path }, { answerMs })
  onTestFinished(() => connection.close())
  return connection
}

describeWith('qemu-system-x86_64', 'a real QEMU', () => {
  async function qemu(...more: string[]): Promise<{ qemu: Qemu; path: string }> {
    const path = join(scratch(), 'qmp')
    const started = await Qemu.start(
      ['-S', '-qmp', `unix:${path},server=on,wait=off`, ...more],
      'tcg',
    )
    onTestFinished(() => started.kill())
    return { qemu: started, path }
  }

  it('greets, answers in any order of asking, and refuses in its own words', async () => {
    const { path } = await qemu()
    const connection = await opened(path)
    expect(connection.version.major).toBeGreaterThanOrEqual(7)
    const [status, dirtyRate, schema] = await Promise.all([
      connection.execute('query-status'),
      connection.execute('query-dirty-rate'),
      connection.execute('query-qmp-schema'),
    ])
    expect(status).toMatchObject({ running: false })
    expect(dirtyRate).toMatchObject({ status: 'unstarted', 'calc-time': 0 })
    // Hundreds of kilobytes, which come in many pieces.
    expect((schema as unknown[]).length).toBeGreaterThan(500)
    await expect(connection.execute('no-such-command')).rejects.toMatchObject({
      code: 'ERR_QAPI',
      class: 'CommandNotFound',
      message: 'The command no-such-command has not been found',
    })
    await expect(connection.execute('calc-dirty-rate', { 'calc-time': 0 })).rejects.toMatchObject({
      class: 'GenericError',
      message: 'Calculation time is out of range [50ms, 60000ms].',
    })
  })

  it('tells of its events', async () => {
    const { path } = await qemu()
    const connection = await opened(path)
    const events: QmpEvent[] = []
    const stop = connection.onEvent(event => events.push(event))
    await connection.execute('cont')
    await connection.execute('stop')
    expect(events.map(({ event }) => event)).toEqual(['RESUME', 'STOP'])
    stop()
    await connection.execute('cont')
    expect(events).toHaveLength(2)
  })

  it('has one client at a time: the next one is told so, and has its turn afterwards', async () => {
    const { path } = await qemu()
    const first = await opened(path)
    await expect(QmpConnection.open({ path }, { greetingMs: 300 })).rejects.toMatchObject({
      code: 'ERR_QMP_BUSY',
      message: `${path}: no greeting within 300 ms: another client has this monitor`,
    })
    first.close()
    expect(await (await opened(path)).execute('query-status')).toMatchObject({ running: false })
  })

  it('that is stopped is told from one that has another client, also at a port', async () => {
    const port = await freePort()
    const { qemu: started, path } = await qemu('-qmp', `tcp:127.0.0.1:${port},server=on,wait=off`)
    const link = join(scratch(), 'link')
    symlinkSync(path, link)
    const addresses = [{ path }, { path: link }, { host: 'localhost', port }]
    const others = await Promise.all(
      [{ path }, { host: '127.0.0.1', port }].map(address => QmpConnection.open(address)),
    )
    const refused = (address: Address): Promise<unknown> =>
      QmpConnection.open(address, { greetingMs: 300 }).catch(error => error)
    for (const address of addresses)
      expect(await refused(address)).toMatchObject({
        code: 'ERR_QMP_BUSY',
        message: expect.stringContaining('another client has this monitor'),
      })
    for (const other of others) other.close()
    started.signal('SIGSTOP')
    // Each client that has left stays in a queue, which is full some day.
    for (const address of [...addresses, ...addresses])
      expect(await refused(address)).toMatchObject({
        code: 'ERR_TARGET_TIMEOUT',
        message: expect.stringContaining(`its process ${started.pid} is stopped by a signal`),
        hint: expect.stringContaining(`kill -CONT ${started.pid}`),
      })
    started.signal('SIGCONT')
    expect(await (await opened(path)).execute('query-status')).toMatchObject({ running: false })
  })

  it('that ends fails the commands under way, and those that follow', async () => {
    const { qemu: started, path } = await qemu()
    const connection = await opened(path)
    // Stopped, it answers nothing, so that the command is surely under way when it ends.
    started.signal('SIGSTOP')
    const asked = connection.execute('query-status')
    const lost = expect(asked).rejects.toMatchObject({ code: 'ERR_TARGET_GONE' })
    await started.kill()
    await lost
    await expect(connection.execute('query-status')).rejects.toMatchObject({
      code: 'ERR_TARGET_GONE',
    })
    // Killed, it leaves its socket behind.
    await expect(QmpConnection.open({ path })).rejects.toMatchObject({
      code: 'ERR_TARGET_ABSENT',
      message: `${path}: nobody listens there; a QEMU that has ended leaves its socket behind`,
    })
  })

  it('is told from a file that is no socket', async () => {
    const path = join(scratch(), 'g.elf')
    writeFileSync(path, 'x')
    await expect(QmpConnection.open({ path })).rejects.toMatchObject({
      code: 'ERR_TARGET_ABSENT',
      message: `${path}: this file is no socket`,
    })
  })

  it('whose error has no id has it for the oldest command without an answer', async () => {
    const unread = '{"error": {"class": "GenericError", "desc": "JSON"}}\r\n'
    let second = ''
    const path = await monitor((client, id, command) => {
      if (command === 'second') second = id
      if (command === 'third') {
        client.write(unread)
        for (const one of [second, id]) client.write(`{"return": "${one}", "id": "${one}"}\r\n`)
      }
      if (command === 'fourth') client.write(unread)
    })
    const connection = await QmpConnection.open({ path })
    onTestFinished(() => connection.close())
    const enough = new AbortController()
    // Nobody waits for the first command any more, but its answer is still due.
    const first = connection.execute('first', {}, enough.signal)
    enough.abort(new Error('enough'))
    await expect(first).rejects.toThrow('enough')
    const others = [connection.execute('second'), connection.execute('third')]
    expect(await Promise.all(others)).toEqual([second, String(Number(second) + 1)])
    const refused = connection.execute('fourth')
    await expect(refused).rejects.toMatchObject({ code: 'ERR_QAPI', message: 'JSON' })
  })

  it('that stands still is not waited for longer than was said, and answers later commands', async () => {
    const { qemu: started, path } = await qemu()
    const connection = await opened(path, 300)
    started.signal('SIGSTOP')
    await expect(connection.execute('query-status')).rejects.toMatchObject({
      code: 'ERR_TARGET_TIMEOUT',
      message: `${path}: no answer to query-status within 300 ms: its process ${started.pid} is stopped by a signal`,
      hint: expect.stringContaining(`kill -CONT ${started.pid}`),
    })
    const reason = new Error('enough')
    const controller = new AbortController()
    const asked = connection.execute('query-status', {}, controller.signal)
    controller.abort(reason)
    await expect(asked).rejects.toBe(reason)
    started.signal('SIGCONT')
    await expect.poll(() => connection.execute('query-name').catch(() => undefined)).toEqual({})
  })
})

describe('what is no monitor', () => {
  it('a program that takes clients and says nothing', async () => {
    const path = await peer(() => {})
    await expect(QmpConnection.open({ path }, { greetingMs: 300 })).rejects.toMatchObject({
      code: 'ERR_QMP_PROTOCOL',
      message: expect.stringContaining('says nothing, so it is no QMP monitor'),
    })
  })

  it('a program that hangs before it takes its first client', async () => {
    const path = join(scratch(), 'sock')
    const hangs = `require('node:net').createServer().listen('${path}', () => { for (;;); })`
    const child = spawn(process.execPath, ['--eval', hangs])
    onTestFinished(() => {
      child.kill('SIGKILL')
    })
    await expect.poll(() => existsSync(path)).toBe(true)
    await expect(QmpConnection.open({ path }, { greetingMs: 300 })).rejects.toMatchObject({
      code: 'ERR_TARGET_TIMEOUT',
      message: expect.stringContaining(`its process ${child.pid} takes no client: it hangs`),
    })
  })

  it.each([
    [
      'a path without a socket',
      () => join(scratch(), 'none'),
      'ERR_TARGET_ABSENT',
      'there is no such socket',
    ],
    ['a file', () => fileOf('text'), 'ERR_TARGET_ABSENT', 'this file is no socket'],
  ])('%s', async (_, make, code, meaning) => {
    await expect(QmpConnection.open({ path: make() })).rejects.toMatchObject({
      code,
      message: expect.stringContaining(meaning),
    })
  })

  function fileOf(text: string): string {
    const path = join(scratch(), 'file')
    writeFileSync(path, text)
    return path
  }

  it('a port that nobody serves', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    server.close()
    await once(server, 'close')
    await expect(QmpConnection.open({ host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'ERR_TARGET_ABSENT',
    })
  })

  it.each([
    ['a web server', 'HTTP/1.1 400 Bad Request\r\n\r\n', 'HTTP/1.1'],
    ['JSON of another kind', '{"hello": 1}', 'hello'],
    ['a greeting without a version', '{"QMP": {}}', 'QMP'],
    ['control characters', '\u001b[2Jx \n', '"\\u001b"'],
    ['text that never ends a line', 'SSH-2.0-OpenSSH_9.2', 'SSH-2.0'],
    ['brackets without end', '['.repeat(2000), 'deeper than 1024 levels'],
  ])('%s', async (_, said, why) => {
    const path = await peer(client => client.write(said))
    await expect(QmpConnection.open({ path })).rejects.toMatchObject({
      code: 'ERR_QMP_PROTOCOL',
      message: expect.stringContaining(why),
    })
  })

  it('one that ends while a client waits for its turn is gone', async () => {
    const path = join(scratch(), 'sock')
    const listen = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`
    const server = spawn(process.execPath, ['--eval', listen], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void server.kill('SIGKILL'))
    await once(server.stdout, 'data')
    // It accepts nobody, so that the client is in its queue.
    server.kill('SIGSTOP')
    setTimeout(() => server.kill('SIGKILL'), 200)
    await expect(QmpConnection.open({ path })).rejects.toMatchObject({ code: 'ERR_TARGET_GONE' })
  })

  it('one whose path is too long is not taken for another one', async () => {
    const within = join(scratch(), 'x'.repeat(60), 'y'.repeat(60))
    mkdirSync(within, { recursive: true })
    const path = join(within, 'qmp')
    // Node cuts a path off after 107 bytes. What is there must not be connected to.
    const cut = path.slice(0, 107)
    const server = createServer(client => client.write(GREETING)).listen(cut)
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    await expect(QmpConnection.open({ path })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining('at most 107'),
      hint: expect.stringContaining('ln -s'),
    })
    const before = process.cwd()
    process.chdir(dirname(cut))
    onTestFinished(() => process.chdir(before))
    // The name alone is short, and is what there is.
    await expect(QmpConnection.open({ path })).rejects.toMatchObject({ code: 'ERR_TARGET_ABSENT' })
  })

  it('one that hangs up at once', async () => {
    const path = await peer(client => client.end())
    await expect(QmpConnection.open({ path })).rejects.toMatchObject({ code: 'ERR_TARGET_GONE' })
  })

  it('one that greets and then never answers', async () => {
    const path = await peer(client => client.write(GREETING))
    await expect(QmpConnection.open({ path }, { answerMs: 200 })).rejects.toMatchObject({
      code: 'ERR_TARGET_TIMEOUT',
      message: `${path}: no answer to qmp_capabilities within 200 ms`,
    })
  })

  it.each([
    ['127.0.0.1', '127.0.0.1:1: nobody listens there'],
    ['::1', '[::1]:1: nobody listens there'],
  ])('a port of %s at which nobody listens leaves nothing behind', async (host, message) => {
    await expect(QmpConnection.open({ host, port: 1 })).rejects.toMatchObject({
      code: 'ERR_TARGET_ABSENT',
      message,
    })
  })

  it.each(['{', ' {"Q', '{ "QMP": {"version":'])(
    'one whose greeting stops at %j is slow',
    async said => {
      const path = await peer(client => client.write(said))
      await expect(QmpConnection.open({ path }, { greetingMs: 300 })).rejects.toMatchObject({
        code: 'ERR_TARGET_TIMEOUT',
        message: expect.stringContaining('has not ended within'),
      })
    },
  )

  it('one whose greeting comes byte by byte is one all the same, and nothing is sent to it before', async () => {
    let early = 0
    const path = await peer(async client => {
      client.on('data', data => {
        early += data.length
        const { id } = JSON.parse(data.toString())
        client.write(`{"return": {}, "id": "${id}"}`)
      })
      for (const byte of GREETING) {
        expect(early).toBe(0)
        client.write(byte)
        await sleep(1)
      }
    })
    expect((await opened(path)).version).toEqual({ major: 10, minor: 0, micro: 2, package: 'x' })
  })
})

describe('a connection', () => {
  it('takes answers that are joined, split, and out of order', async () => {
    const waiting: string[] = []
    const path = await monitor(async (client, id) => {
      waiting.push(id)
      if (waiting.length < 3) return
      const answers = waiting.reverse().map(one => JSON.stringify({ id: one, return: `to ${one}` }))
      const bytes = Buffer.from(`{"event": "X", "data": {"n": 1}}\r\n${answers.join('')}`)
      for (let at = 0; at < bytes.length; at += 7) {
        client.write(bytes.subarray(at, at + 7))
        await sleep(1)
      }
    })
    const connection = await opened(path)
    const events: unknown[] = []
    connection.onEvent(event => events.push(event))
    const answers = await Promise.all(['a', 'b', 'c'].map(command => connection.execute(command)))
    expect(answers).toEqual(['to 2', 'to 3', 'to 4'])
    expect(events).toEqual([{ event: 'X', data: { n: 1 } }])
  })

  it.each([
    ['rubbish', 'rubbish\n'],
    ['an answer without an id', '{"return": {}}'],
    ['an array', '[]'],
    ['a text without end', `{"a": "${'x'.repeat(70 * 2 ** 20)}`],
  ])('ends at %s, and says so to who waits', async (_, said) => {
    const path = await monitor(client => client.write(said))
    const connection = await opened(path)
    await expect(connection.execute('query-status')).rejects.toMatchObject({
      code: 'ERR_QMP_PROTOCOL',
    })
    expect(connection.closed).toBe(true)
    await expect(connection.execute('query-status')).rejects.toMatchObject({
      code: 'ERR_QMP_PROTOCOL',
    })
  })

  it('drops an answer that comes too late, or twice', async () => {
    const path = await monitor(async (client, id, command) => {
      if (command === 'slow') await sleep(300)
      client.write(JSON.stringify({ id, return: command }).repeat(2))
    })
    const connection = await opened(path, 150)
    await expect(connection.execute('slow')).rejects.toMatchObject({ code: 'ERR_TARGET_TIMEOUT' })
    await sleep(300)
    expect(await connection.execute('quick')).toBe('quick')
  })

  it('is closed once, and refuses commands then', async () => {
    const path = await monitor(() => {})
    const connection = await opened(path)
    const asked = connection.execute('query-status')
    connection.close()
    connection.close()
    await expect(asked).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    await expect(connection.execute('query-status')).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })

  it('leaves no socket and no timer behind, however it ends', async () => {
    const handles = (): number =>
      (process as unknown as { getActiveResourcesInfo(): string[] })
        .getActiveResourcesInfo()
        .filter(name => /Pipe|Timeout/.test(name)).length
    const before = handles()
    const path = await peer(client => client.write('rubbish\n'))
    const within = handles()
    for (let turn = 0; turn < 20; turn++) {
      await expect(QmpConnection.open({ path })).rejects.toThrow()
      await expect(QmpConnection.open({ path: `${path}-none` })).rejects.toThrow()
      const signal = AbortSignal.abort(new Error('no'))
      await expect(QmpConnection.open({ path }, { signal })).rejects.toThrow('no')
    }
    expect(existsSync(path)).toBe(true)
    // The peer's own ends of the sockets close a moment later.
    await expect.poll(handles).toBeLessThanOrEqual(Math.max(before, within))
  })
})
