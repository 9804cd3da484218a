/** The HTTP server: its limits, its headers, and its end. What it answers comes from `routes`. */

import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http'
import { createServer as createSecureServer, Server as SecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { clearTimeout, setTimeout } from 'node:timers'
import { DirtyRateError } from '../ground/errors.js'
import { type AccessRules, type Refusal, refusalOf } from './access.js'
import { type ListenAddress, urlHost } from './address.js'
import { Connections } from './connections.js'

/** What is answered. */
export interface Answer {
  readonly contentType: string
  readonly body: string | Buffer
  /** Further headers, and other values of those that every answer has. */
  readonly headers?: Readonly<Record<string, string>>
}

/** What is at a path. */
export interface Route {
  answer(request: IncomingMessage): Answer | Promise<Answer>
  /** Anybody may ask for it, also without the token: it says nothing about any target. */
  readonly isPublic?: boolean
}

/** The paths that there are. */
export type Routes = ReadonlyMap<string, Route>

/** What a client may take of the server. */
export interface HttpLimits {
  /** The places of connections, which networks share. */
  readonly mostConnections: number
  readonly headerBytes: number
  /** A client has to send its whole request head within this time. */
  readonly headersMs: number
  /** A client has to take its whole answer within this time. */
  readonly answerMs: number
  /** How long a connection may be kept without a request. Most Prometheus ask once a minute. */
  readonly idleMs: number
  /** How long the end of the server waits for answers that are under way. */
  readonly drainMs: number
}

const LIMITS: HttpLimits = {
  mostConnections: 256,
  headerBytes: 8192,
  headersMs: 5_000,
  answerMs: 10_000,
  idleMs: 75_000,
  drainMs: 2_000,
}

/** How often Node looks for connections whose time is up, as a part of that time. */
const LOOKS_PER_LIMIT = 5

/** What every answer says to a browser: it runs nothing, shows this in no frame, keeps nothing. */
const HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
} as const

const PLAIN = 'text/plain; charset=utf-8'

/** What encrypts the connections, as PEM. */
export interface Certificate {
  readonly cert: string | Buffer
  readonly key: string | Buffer
}

/** Takes the connections that change to WebSockets. */
export interface Upgrades {
  /** Why the request is refused; undefined if it is allowed. */
  refusal(request: IncomingMessage): Refusal | undefined
  accept(request: IncomingMessage, socket: Duplex, head: Buffer): void
  /** Ends all of them, at the latest after so many ms. */
  close(ms: number): Promise<void>
}

export interface HttpServerOptions {
  readonly listen: ListenAddress
  readonly access: AccessRules
  readonly routes: Routes
  /** Undefined if no connection is encrypted. */
  readonly certificate?: Certificate | undefined
  /** Undefined if nobody switches protocols. */
  readonly upgrades?: Upgrades | undefined
  readonly limits?: Partial<HttpLimits>
}

/** A server that listens. */
export interface HttpServer {
  /** The URL of its root, with the port that the system has chosen. */
  readonly url: string
  /** Encrypts further connections with another certificate, if it encrypts them. */
  setCertificate(certificate: Certificate): void
  /** Takes no more requests, lets answers that are under way end, and then closes. Idempotent. */
  close(): Promise<void>
}

/** Listens. Rejects with ERR_SOCKET if that is not possible. */
export async function serveHttp({
  listen,
  access,
  routes,
  certificate,
  upgrades,
  limits: given = {},
}: HttpServerOptions): Promise<HttpServer> {
  const limits = { ...LIMITS, ...given }
  const settings = {
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headersMs,
    requestTimeout: limits.headersMs,
    keepAliveTimeout: limits.idleMs,
    connectionsCheckingInterval: Math.ceil(limits.headersMs / LOOKS_PER_LIMIT),
    requireHostHeader: false,
  }
  const server =
    certificate === undefined
      ? createServer(settings)
      : createSecureServer({ ...settings, ...certificate, handshakeTimeout: limits.headersMs })
  const connections = new Connections(server, limits.mostConnections)
  // Node answers what it cannot parse, and closes the connection.
  server.on('request', (request, response) => {
    const { socket } = request
    // Requests that do not wait for the answers before them could ask for any amount of memory.
    if (!connections.asked(socket)) {
      socket.destroy()
      return
    }
    response.once('close', () => connections.answered(socket))
    limitAnswer(response, limits.answerMs)
    void answer(request, response, access, routes)
  })
  // Nobody gets a tunnel, or a leave to send a body.
  for (const event of ['checkContinue', 'checkExpectation'] as const)
    server.on(event, (request, response) => server.emit('request', request, response))
  server.on('connect', (_, socket) => socket.destroy())
  let closing: Promise<void> | undefined
  server.on('upgrade', (request, socket, head) => {
    const refusal = closing === undefined ? refusalOfUpgrade(request, upgrades) : AT_END
    connections.upgraded(request.socket)
    if (refusal === undefined) upgrades?.accept(request, socket, head)
    else refuseUpgrade(socket, refusal)
  })
  await listening(server, listen)
  const { address, port } = server.address() as AddressInfo
  // A connection that could not be accepted is the loss of its client.
  server.on('error', () => {})
  return {
    url: `${certificate === undefined ? 'http' : 'https'}://${urlHost(address)}:${port}`,
    setCertificate(renewed) {
      if (server instanceof SecureServer) server.setSecureContext(renewed)
    },
    close() {
      closing ??= drained(server, connections, upgrades, limits.drainMs)
      return closing
    },
  }
}

/** Ends the connection of a client that does not take its answer. */
function limitAnswer(response: ServerResponse, ms: number): void {
  const timer = setTimeout(() => response.destroy(), ms)
  response.once('close', () => clearTimeout(timer))
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  access: AccessRules,
  routes: Routes,
): Promise<void> {
  const [path = ''] = (request.url ?? '').split('?')
  const route = routes.get(path)
  const refusal = refusalOf(request, access, route?.isPublic)
  if (refusal !== undefined) {
    const { status, reason, headers = {} } = refusal
    // What follows on this connection may be the body of a request that was refused.
    end(request, response, status, { ...headers, Connection: 'close' }, sentence(reason))
    return
  }
  if (route === undefined) {
    end(request, response, 404, {}, sentence('There is no such path. See /.'))
    return
  }
  try {
    end(request, response, 200, {}, await route.answer(request))
  } catch {
    end(request, response, 500, {}, sentence('This is a defect of dirtyrate: please report it.'))
  }
}

const NO_UPGRADE: Refusal = { status: 400, reason: 'This server does not switch protocols.' }
const AT_END: Refusal = { status: 503, reason: 'The server ends.' }

const refusalOfUpgrade = (
  request: IncomingMessage,
  upgrades: Upgrades | undefined,
): Refusal | undefined => (upgrades === undefined ? NO_UPGRADE : upgrades.refusal(request))

/** The request is not answered by Node any more, so its answer is written here. */
export function refuseUpgrade(socket: Duplex, { status, reason, headers = {} }: Refusal): void {
  const { contentType, body } = sentence(reason)
  const head = {
    ...HEADERS,
    'Content-Type': contentType,
    'Content-Length': body.length,
    Connection: 'close',
    ...headers,
  }
  const lines = Object.entries(head).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.once('finish', () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`)
}

const sentence = (text: string): Answer => ({ contentType: PLAIN, body: `${text}\n` })

function end(
  { method }: IncomingMessage,
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
  { contentType, body, headers: own = {} }: Answer,
): void {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  response.writeHead(status, {
    ...HEADERS,
    'Content-Type': contentType,
    'Content-Length': bytes.length,
    ...own,
    ...headers,
  })
  response.end(method === 'HEAD' ? undefined : bytes)
}

function listening(server: Server, { address, port }: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(cannotListen(error, address, port)),
    )
    server.listen({ host: address, port, exclusive: true }, () => {
      server.removeAllListeners('error')
      resolve()
    })
  })
}

const REASONS: Readonly<Record<string, readonly [why: string, hint: string]>> = {
  EADDRINUSE: ['another program listens there', 'Give another port, or 0 for any free one.'],
  EADDRNOTAVAIL: ['this host does not have the address', 'See ip address for those that it has.'],
  EACCES: ['only root may listen there', 'Give a port from 1024 on.'],
}

function cannotListen(
  { code = '', message }: NodeJS.ErrnoException,
  address: string,
  port: number,
): DirtyRateError {
  const [why, hint] = REASONS[code] ?? [message, 'Give another address.']
  return new DirtyRateError('ERR_SOCKET', `${urlHost(address)}:${port}: ${why}`, { hint })
}

async function drained(
  server: Server,
  connections: Connections,
  upgrades: Upgrades | undefined,
  ms: number,
): Promise<void> {
  const closed = new Promise<void>(resolve => {
    server.close(() => resolve())
  })
  server.closeIdleConnections()
  // Node waits for those that speak no HTTP any more, or not yet.
  const timer = setTimeout(() => connections.destroy(), ms)
  await Promise.all([closed, upgrades?.close(ms)])
  clearTimeout(timer)
}
