/** The WebSockets of live views, over real sockets: who may open one, and what one may take. */

import { once } from 'node:events'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { feedOf } from '../../ts/cli/serve/feed.js'
import { History } from '../../ts/dashboard/history.js'
import { Hub } from '../../ts/dashboard/hub.js'
import { parseListenAddress } from '../../ts/server/address.js'
import { type HttpServer, serveHttp } from '../../ts/server/http.js'
import { type LiveLimits, LiveSockets } from '../../ts/server/live-sockets.js'
import { Tickets } from '../../ts/server/tickets.js'
import { Token } from '../../ts/server/token.js'
import { measuredEvent } from '../fixtures/dashboard.js'
import { clientFrame, handshake, LiveClient, rawLive } from '../fixtures/live-client.js'

const TOKEN = '00112233445566778899aabbccddeeff'
const BEARER = { headers: { Authorization: `Bearer ${TOKEN}` } }

interface Serving extends HttpServer {
  hub: Hub
  tickets: Tickets
  /** The targets whose curves were asked for. */
  asked: string[]
}

async function serving(
  limits: Partial<LiveLimits> = {},
  {
    token,
    lifeMs,
    listen = '127.0.0.1:0',
  }: { token?: string; lifeMs?: number; listen?: string } = {},
): Promise<Serving> {
  const about = { version: '0.1.0', run: 'this run', source: 'live' } as const
  const hub = new Hub(new History(), about, () => ['pid:1'])
  const tickets = new Tickets(lifeMs)
  const asked: string[] = []
  const access = {
    hostNames: ['localhost'],
    token: token === undefined ? undefined : new Token(token),
  }
  const feed = feedOf(hub, target => {
    if (target !== 'pid:1') throw new Error('There is no such target.')
    asked.push(target)
  })
  const server = await serveHttp({
    listen: parseListenAddress(listen, 'listen'),
    access,
    routes: new Map(),
    upgrades: new LiveSockets('/live', access, tickets, feed, limits),
    limits: { drainMs: 200 },
  })
  onTestFinished(() => server.close())
  return { ...server, hub, tickets, asked }
}

const opened = (...args: Parameters<typeof LiveClient.open>): Promise<string> =>
  LiveClient.open(...args).then(
    () => 'opened',
    (error: Error) => error.message,
  )

describe('a live view', () => {
  it('hears what happened and what happens, and can ask for a curve', async () => {
    const { url, hub, asked } = await serving()
    hub.publish(measuredEvent('pid:1', 1, 100))
    const client = await LiveClient.open(url)
    await expect.poll(() => client.controls('caught-up')).toHaveLength(1)
    hub.publish(measuredEvent('pid:1', 2, 100))
    await expect.poll(() => client.events.map(({ seq }) => seq)).toEqual([1, 2])
    client.socket.send('{"kind":"measureCurve","target":"pid:1"}')
    client.socket.send('{"kind":"measureCurve","target":"<b>"}')
    await expect
      .poll(() => client.controls('curve-answer'))
      .toEqual([
        { kind: 'curve-answer', target: 'pid:1', accepted: true },
        {
          kind: 'curve-answer',
          target: '<b>',
          accepted: false,
          reason: 'There is no such target.',
        },
      ])
    expect(asked).toEqual(['pid:1'])
  })

  it('that comes back gets what it has missed', async () => {
    const { url, hub } = await serving()
    for (let at = 0; at < 3; at++) hub.publish(measuredEvent('pid:1', at))
    const client = await LiveClient.open(url, {}, '?run=this%20run&after=2')
    await expect.poll(() => client.events.map(({ seq }) => seq)).toEqual([3])
  })
})

describe('a WebSocket is refused', () => {
  it.each([
    { what: 'to a page of another origin', origin: 'http://evil.example', status: '403' },
    { what: 'to a page without an origin', origin: 'null', status: '403' },
    { what: 'to one that does not say its origin', origin: '', status: '403' },
  ])('$what', async ({ origin, status }) => {
    const { url } = await serving()
    // An empty origin is one that ws does not send.
    const options = origin === '' ? { origin: undefined as unknown as string } : { origin }
    expect(await opened(url, options)).toBe(status)
    expect(await opened(url)).toBe('opened')
  })

  it('under another name of the host', async () => {
    const { url } = await serving()
    const headers = { Host: 'evil.example' }
    expect(await opened(url, { headers, origin: 'http://evil.example' })).toBe('421')
  })

  it('without the token, and with another one', async () => {
    const { url } = await serving({}, { token: TOKEN })
    expect(await opened(url)).toBe('401')
    const headers = { Authorization: `Bearer ${TOKEN}0` }
    expect(await opened(url, { headers })).toBe('401')
    expect(await opened(url, BEARER)).toBe('opened')
  })

  it('with a ticket that was used, that was never issued, or that is old', async () => {
    const { url, tickets } = await serving({}, { token: TOKEN, lifeMs: 10_000 })
    const ticket = tickets.issue()
    expect(await opened(url, {}, `?ticket=${ticket}`)).toBe('opened')
    expect(await opened(url, {}, `?ticket=${ticket}`)).toBe('401')
    expect(await opened(url, {}, `?ticket=${TOKEN}`)).toBe('401')
    const old = await serving({}, { token: TOKEN, lifeMs: 0 })
    expect(await opened(old.url, {}, `?ticket=${old.tickets.issue()}`)).toBe('401')
  })

  it('to a page of another origin, even with a ticket', async () => {
    const { url, tickets } = await serving({}, { token: TOKEN })
    const query = `?ticket=${tickets.issue()}`
    expect(await opened(url, { origin: 'http://evil.example' }, query)).toBe('403')
  })

  it('if too many are open, until one has gone', async () => {
    const { url } = await serving({ mostClients: 2 })
    const first = await LiveClient.open(url)
    await LiveClient.open(url)
    expect(await opened(url)).toBe('503')
    first.socket.close()
    await first.closed
    await expect.poll(() => opened(url)).toBe('opened')
  })

  it('of the network with the most open ones, but not of another one', async () => {
    const outside = Object.values(networkInterfaces())
      .flat()
      .find(one => one?.internal === false && one.family === 'IPv4')?.address
    if (outside === undefined) return
    const { url } = await serving({ mostClients: 3 }, { listen: '0.0.0.0:0' })
    const { port } = new URL(url)
    const first = await LiveClient.open(`http://127.0.0.1:${port}`)
    const others = [
      await LiveClient.open(`http://127.0.0.1:${port}`),
      await LiveClient.open(`http://127.0.0.2:${port}`),
    ]
    expect(await opened(`http://127.0.0.1:${port}`)).toBe('503')
    expect(await opened(`http://${outside}:${port}`)).toBe('opened')
    await first.closed
    for (const { socket } of others) expect(socket.readyState).toBe(socket.OPEN)
    // The one that had to leave does not get the place back.
    expect(await opened(`http://127.0.0.1:${port}`)).toBe('503')
  })

  it('at another path, and for another protocol', async () => {
    const { url } = await serving()
    for (const request of [
      handshake(url).replace('/live', '/'),
      handshake(url).replace('/live', '/live/'),
      handshake(url).replace('/live', '//live'),
      handshake(url).replace('/live', `${new URL(url).origin}/live`),
      handshake(url).replace('GET', 'POST'),
      handshake(url, { Upgrade: 'h2c' }),
      handshake(url, { 'Sec-WebSocket-Version': '7' }),
      handshake(url, { 'Sec-WebSocket-Key': 'short' }),
    ]) {
      const answer = await text(await rawLive(url, request))
      expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /)
      expect(answer).toContain("Content-Security-Policy: default-src 'none'")
      expect(answer).toContain('X-Content-Type-Options: nosniff')
    }
  })
})

describe('a client is disconnected', () => {
  it.each([
    { what: 'sends what is no request', message: 'hello', code: 1008 },
    {
      what: 'asks for what there is not',
      message: '{"kind":"pause","target":"pid:1"}',
      code: 1008,
    },
    { what: 'sends bytes', message: Buffer.from([1, 2, 3]), code: 1003 },
    { what: 'sends a message that is too large', message: ' '.repeat(5000), code: 1009 },
  ])('if it $what', async ({ message, code }) => {
    const { url, asked } = await serving()
    const client = await LiveClient.open(url)
    client.socket.send(message)
    expect(await client.closed).toBe(code)
    expect(asked).toEqual([])
  })

  it('if it asks too often', async () => {
    const { url, asked } = await serving({ mostMessages: 3, messageEveryMs: 60_000 })
    const client = await LiveClient.open(url)
    for (let at = 0; at < 50; at++) client.socket.send('{"kind":"measureCurve","target":"pid:1"}')
    expect(await client.closed).toBe(1008)
    expect(asked).toHaveLength(3)
  })

  it.each([
    ['is not masked', clientFrame({ opcode: 1, payload: Buffer.from('{}'), isMasked: false })],
    ['is compressed', clientFrame({ opcode: 1, payload: Buffer.from('{}'), reserved: 4 })],
    ['has an opcode that there is not', clientFrame({ opcode: 3 })],
    ['says to be of any size', clientFrame({ opcode: 1, length: 2 ** 40 })],
    ['goes on with nothing', clientFrame({ opcode: 0, payload: Buffer.from('{}') })],
    ['is a long ping', clientFrame({ opcode: 9, payload: Buffer.alloc(200) })],
    ['is a ping in pieces', clientFrame({ opcode: 9, isFinal: false })],
    ['is not UTF-8', clientFrame({ opcode: 1, payload: Buffer.from([0xff, 0xfe]) })],
    ['closes with no code', clientFrame({ opcode: 8, payload: Buffer.from([3]) })],
    [
      'is one of too many pieces',
      Buffer.concat([
        clientFrame({ opcode: 1, isFinal: false }),
        ...new Array<Buffer>(50).fill(clientFrame({ opcode: 0, isFinal: false })),
      ]),
    ],
  ])('if its frame %s', async (_, bytes) => {
    const { url } = await serving()
    const socket = await rawLive(url)
    socket.resume()
    socket.write(bytes)
    await new Promise(resolve => socket.once('close', resolve))
    expect(await opened(url)).toBe('opened')
  })

  it('if it does not show that it is there', async () => {
    const { url } = await serving({ pingMs: 50 })
    const silent = await LiveClient.open(url, { autoPong: false })
    const lively = await LiveClient.open(url)
    expect(await silent.closed).toBe(1006)
    await sleep(200)
    expect(lively.socket.readyState).toBe(lively.socket.OPEN)
  })

  it('if it takes nothing', async () => {
    const { url, hub } = await serving({ sendMs: 300, pingMs: 3_600_000 })
    const socket = await rawLive(url)
    socket.pause()
    const closed = new Promise(resolve => socket.once('close', resolve))
    // More than the buffers of the kernel have room for.
    for (let at = 0; at < 60; at++) hub.publish(measuredEvent('pid:1', at, 200_000))
    await sleep(1000)
    socket.resume()
    await closed
    expect(await opened(url)).toBe('opened')
  })
})

describe('at its end the server', () => {
  it('says so to live views', async () => {
    const { url, close } = await serving()
    const client = await LiveClient.open(url)
    await close()
    expect(await client.closed).toBe(1001)
  })

  it('takes no further one, and waits for none that has begun to ask', async () => {
    const { url, close } = await serving()
    const request = handshake(url)
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    onTestFinished(() => {
      socket.destroy()
    })
    await once(socket, 'connect')
    socket.write(request.slice(0, 30))
    // A connection without a part of a request would be ended at once.
    await sleep(100)
    const closed = close()
    socket.write(request.slice(30))
    expect(await text(socket).catch(() => '')).not.toContain(' 101 ')
    await closed
  })

  it('does not wait for those that do not answer', async () => {
    const { url, close } = await serving()
    const socket = await rawLive(url)
    socket.pause()
    await close()
  })
})
