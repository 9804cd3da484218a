/** The HTTP server, over real sockets: what clients may take of it, and how it ends. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { parseListenAddress } from '../../ts/server/address.js'
import { type HttpLimits, type HttpServer, type Routes, serveHttp } from '../../ts/server/http.js'
import { makeCertificate } from '../fixtures/certificate.js'
import { folder } from '../fixtures/elf.js'

const PLAIN = 'text/plain; charset=utf-8'
const HELLO: Routes = new Map([['/', { answer: () => ({ contentType: PLAIN, body: 'hello\n' }) }]])
const GET = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'
const LAST = 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'

async function serving(
  limits: Partial<HttpLimits> = {},
  routes: Routes = HELLO,
  listen = '127.0.0.1:0',
): Promise<HttpServer> {
  const server = await serveHttp({
    listen: parseListenAddress(listen, 'listen'),
    access: { hostNames: ['localhost'], token: undefined },
    routes,
    limits,
  })
  onTestFinished(() => server.close())
  return server
}

async function client({ url }: HttpServer, host = '127.0.0.1'): Promise<Socket> {
  const socket = connect(Number(new URL(url).port), host)
  onTestFinished(() => {
    socket.destroy()
  })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** What the server answers to these bytes, until it closes the connection. */
async function answerTo(
  server: HttpServer,
  bytes: string | Uint8Array,
  host?: string,
): Promise<string> {
  const socket = await client(server, host)
  socket.write(bytes)
  return text(socket).catch(() => '')
}

const statusIn = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1])

describe('the server answers', () => {
  it('with headers that keep browsers from doing anything with it', async () => {
    const server = await serving()
    const response = await fetch(server.url)
    expect(await response.text()).toBe('hello\n')
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-security-policy': expect.stringContaining("default-src 'none'"),
      'x-content-type-options': 'nosniff',
      'cross-origin-resource-policy': 'same-origin',
      'cache-control': 'no-store',
    })
    expect(response.headers.get('access-control-allow-origin')).toBeNull()
  })

  it('a request for the head without the body', async () => {
    const answer = await answerTo(await serving(), LAST.replace('GET', 'HEAD'))
    expect(answer).toContain('Content-Length: 6\r\n')
    expect(answer).toMatch(/\r\n\r\n$/)
  })

  it('one request after the other, whatever is asked for behind a question mark', async () => {
    const socket = await client(await serving())
    socket.write(GET)
    await once(socket, 'readable')
    expect(String(socket.read())).toMatch(/^HTTP\/1\.1 200 (.|\r\n)*hello\n$/)
    socket.write(LAST.replace('/', '/?a=/nothing'))
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 (.|\r\n)*hello\n$/)
  })

  it.each(['/nothing', '//', '/../', '/%2e%2e/', '*', '/metrics\\', '/http://localhost/'])(
    '404 to %s, and repeats nothing of it',
    async path => {
      const answer = await answerTo(await serving(), LAST.replace('/', path))
      expect(statusIn(answer)).toBe(404)
      expect(answer).not.toContain('nothing')
    },
  )

  it.each(['http://localhost/nothing', 'HTTPS://nothing/', 'http://localhost/'])(
    '400 to %s, because it is no proxy, and repeats nothing of it',
    async url => {
      const answer = await answerTo(await serving(), LAST.replace('/', url))
      expect(statusIn(answer)).toBe(400)
      expect(answer).toContain('This server is no proxy: ask for a path, such as /metrics.')
      expect(answer).not.toContain('nothing')
    },
  )

  it('500 if the answer cannot be made, and goes on', async () => {
    const failing = (): never => {
      throw new Error('a secret')
    }
    const server = await serving({}, new Map([...HELLO, ['/failing', { answer: failing }]]))
    const answer = await answerTo(server, LAST.replace('/', '/failing'))
    expect(statusIn(answer)).toBe(500)
    expect(answer).not.toContain('secret')
    expect(statusIn(await answerTo(server, LAST))).toBe(200)
  })
})

describe('the server refuses', () => {
  it('a name that is not its own, and closes', async () => {
    const answer = await answerTo(await serving(), GET.replace('localhost', 'evil.example'))
    expect(statusIn(answer)).toBe(421)
    expect(answer).not.toContain('evil')
  })

  it.each([
    ['Host: localhost', 'Host: localhost'],
    ['Host: localhost', 'Host: evil.example'],
    ['Host: evil.example', 'Host: localhost'],
    ['Host: localhost', 'Authorization: Bearer one', 'authorization: Bearer two'],
    ['Host: localhost', 'Origin: http://localhost', 'Origin: http://evil.example'],
  ])('what is there twice and decides: %s, %s', async (...lines) => {
    const answer = await answerTo(
      await serving(),
      `GET / HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`,
    )
    expect(statusIn(answer)).toBe(400)
    expect(answer).toContain('Content-Security-Policy')
    expect(answer).not.toContain('evil')
  })

  it('a request without a name, of each version', async () => {
    const server = await serving()
    for (const version of ['1.0', '1.1']) {
      const answer = await answerTo(server, `GET / HTTP/${version}\r\n\r\n`)
      expect(statusIn(answer)).toBe(400)
      expect(answer).toContain('The request needs the header Host')
    }
  })

  it('a body, and takes nothing in it for a request', async () => {
    const body = GET.replace('/', '/smuggled')
    const head = `GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n`
    const answer = await answerTo(await serving({ idleMs: 200 }), `${head}${body}`)
    expect(statusIn(answer)).toBe(413)
    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1)
  })

  it('to wait for a body that it has not refused yet', async () => {
    const expecting = LAST.replace(
      '\r\n\r\n',
      '\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n',
    )
    expect(statusIn(await answerTo(await serving(), expecting))).toBe(413)
  })

  it('a head that is too large', async () => {
    const large = LAST.replace('\r\n\r\n', `\r\nX: ${'x'.repeat(9000)}\r\n\r\n`)
    expect(statusIn(await answerTo(await serving(), large))).toBe(431)
  })

  it('tunnels', async () => {
    const tunnel = 'CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n'
    expect(await answerTo(await serving(), tunnel)).toBe('')
  })

  it('other protocols, and closes', async () => {
    expect(statusIn(await answerTo(await serving(), upgrade()))).toBe(400)
  })

  it('nonsense, and goes on', async () => {
    const server = await serving({ headersMs: 200 })
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc.string({ maxLength: 200 }).map(line => Buffer.from(`GET ${line} HTTP/1.1\r\n\r\n`)),
          fc
            .string({ maxLength: 200 })
            .map(line => Buffer.from(`GET / HTTP/1.1\r\nHost: localhost\r\n${line}\r\n\r\n`)),
        ),
        async bytes => {
          const socket = await client(server)
          socket.end(bytes)
          await text(socket).catch(() => '')
        },
      ),
      { numRuns: 200 },
    )
    expect(statusIn(await answerTo(server, LAST))).toBe(200)
  })
})

function upgrade(): string {
  return 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
}

describe('a client that takes too much', () => {
  it('is closed if it says nothing, or sends its head too slowly', async () => {
    const server = await serving({ headersMs: 200 })
    const silent = await client(server)
    const slow = await client(server)
    const ended = Promise.all([text(silent), text(slow).catch(() => '')])
    let sent = 0
    const sending = setInterval(() => slow.write(GET[sent++] ?? 'x'), 40)
    onTestFinished(() => clearInterval(sending))
    // Both promises are there only when both connections are closed.
    const [ofSilent, ofSlow] = await ended
    expect([ofSilent, ofSlow].map(answer => answer === '' || statusIn(answer) === 408)).toEqual([
      true,
      true,
    ])
    expect(statusIn(await answerTo(server, LAST))).toBe(200)
  })

  it('is closed if it does not read its answer', async () => {
    const body = 'x'.repeat(64 * 2 ** 20)
    const large: Routes = new Map([['/', { answer: () => ({ contentType: PLAIN, body }) }]])
    const server = await serving({ answerMs: 300 }, large)
    const socket = await client(server)
    socket.pause()
    socket.write(GET)
    await sleep(1000)
    // What is in the buffers of the sockets is still there, and then the connection is over.
    const answer = await text(socket).catch(() => 'reset')
    expect(answer.length).toBeLessThan(body.length)
  })

  it('is disconnected if it does not wait for its answers', async () => {
    let asked = 0
    const counting: Routes = new Map([
      [
        '/',
        {
          answer: async () => {
            asked += 1
            await sleep(20)
            return { contentType: PLAIN, body: 'hello\n' }
          },
        },
      ],
    ])
    const server = await serving({}, counting)
    expect(await answerTo(server, GET.repeat(1000))).toBe('')
    expect(asked).toBe(1)
    expect(statusIn(await answerTo(server, LAST))).toBe(200)
  })

  it('has no connection beyond the limit, and the others go on', async () => {
    const server = await serving({ mostConnections: 20 })
    const [first, ...more] = await Promise.all(Array.from({ length: 20 }, () => client(server)))
    const beyond = await Promise.all(Array.from({ length: 980 }, () => client(server)))
    await Promise.all(beyond.map(socket => text(socket).catch(() => '')))
    first?.write(LAST)
    expect(statusIn(await text(first as Socket))).toBe(200)
    for (const socket of more) socket.destroy()
    await expect.poll(async () => statusIn(await answerTo(server, LAST))).toBe(200)
  })
})

/** Asks once, and keeps the connection. */
async function idle(server: HttpServer): Promise<Socket> {
  const socket = await client(server)
  socket.write(GET)
  await once(socket, 'data')
  return socket
}

describe('a full server', () => {
  it('closes a connection that asks for nothing, so that another client gets an answer', async () => {
    const server = await serving({ mostConnections: 3, idleMs: 600_000 })
    const first = await idle(server)
    const others = [await idle(server), await idle(server)]
    const isClosed = once(first, 'close')
    expect(statusIn(await answerTo(server, LAST))).toBe(200)
    await isClosed
    for (const other of others) {
      other.write(GET)
      const [answer] = await once(other, 'data')
      expect(statusIn(String(answer))).toBe(200)
    }
  })

  it('is not kept by one network from another one', async () => {
    const outside = otherAddress()
    if (outside === undefined) return
    const server = await serving({ mostConnections: 4, headersMs: 600_000 }, HELLO, '0.0.0.0:0')
    const silent = await Promise.all(Array.from({ length: 4 }, () => client(server)))
    const closed = Promise.race(silent.map(socket => once(socket, 'close')))
    expect(statusIn(await answerTo(server, LAST, outside))).toBe(200)
    await closed
    // Nor does the other one keep the first one out.
    expect(silent.filter(({ destroyed }) => !destroyed).length).toBeGreaterThan(1)
  })
})

/** An address of this host that is not a loopback one, from which a client then comes too. */
function otherAddress(): string | undefined {
  return Object.values(networkInterfaces())
    .flat()
    .find(one => one?.internal === false && one.family === 'IPv4')?.address
}

describe('the end of the server', () => {
  it('lets an answer that is under way come to its end', async () => {
    let finish: () => void = () => {}
    let asked: () => void = () => {}
    const isAsked = new Promise<void>(resolve => {
      asked = resolve
    })
    const finished = new Promise<void>(resolve => {
      finish = resolve
    })
    const slow: Routes = new Map([
      [
        '/',
        {
          answer: async () => {
            asked()
            await finished
            return { contentType: PLAIN, body: 'late\n' }
          },
        },
      ],
    ])
    const server = await serving({}, slow)
    const answer = answerTo(server, LAST)
    await isAsked
    const closed = server.close()
    await expect(client(server)).rejects.toThrow('ECONNREFUSED')
    finish()
    expect(await answer).toContain('late')
    await closed
  })

  it('does not wait for idle clients, nor for long', async () => {
    const never: Routes = new Map([
      ['/', { answer: () => new Promise<never>(() => {}) }],
      ...[...HELLO].slice(1),
    ])
    const server = await serving({ drainMs: 100 }, never)
    const idle = await client(server)
    const waiting = await client(server)
    waiting.write(GET)
    await Promise.all([server.close(), server.close(), once(idle, 'close'), once(waiting, 'close')])
  })

  it('does not wait for a client that has not encrypted its connection yet', async () => {
    const file = folder()
    const [cert, key] = [file('cert.pem', ''), file('key.pem', '')]
    makeCertificate(cert, key)
    const server = await serveHttp({
      listen: parseListenAddress('127.0.0.1:0', 'listen'),
      access: { hostNames: ['localhost'], token: undefined },
      routes: HELLO,
      certificate: { cert: readFileSync(cert), key: readFileSync(key) },
      // A handshake may take longer than a test.
      limits: { drainMs: 100, headersMs: 600_000 },
    })
    const silent = await client(server)
    await sleep(100)
    await Promise.all([server.close(), once(silent, 'close')])
  })

  it('frees the address, which nobody else can take before', async () => {
    const server = await serving()
    const { host } = new URL(server.url)
    const again = (): Promise<HttpServer> =>
      serveHttp({
        listen: parseListenAddress(host, 'listen'),
        access: { hostNames: [], token: undefined },
        routes: HELLO,
      })
    await expect(again()).rejects.toMatchObject({
      code: 'ERR_SOCKET',
      message: `${host}: another program listens there`,
    })
    await server.close()
    await (await again()).close()
  })

  it('is not reached if the address is not one of this host', async () => {
    const listen = parseListenAddress('192.0.2.7:0', 'listen')
    const access = { hostNames: [], token: undefined }
    await expect(serveHttp({ listen, access, routes: HELLO })).rejects.toMatchObject({
      code: 'ERR_SOCKET',
      message: '192.0.2.7:0: this host does not have the address',
    })
  })
})
