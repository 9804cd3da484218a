/**
 * The WebSockets of live views, by the library ws: who may open one, and what one may take of the
 * server. What is said over them comes from a feed.
 */

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { clearInterval, clearTimeout, setInterval, setTimeout } from 'node:timers'
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws'
import { type AccessRules, type Refusal, socketRefusalOf } from './access.js'
import { allowance } from './allowance.js'
import { refuseUpgrade, type Upgrades } from './http.js'
import { Places } from './places.js'
import type { Tickets } from './tickets.js'

/** What a live view hears. */
export interface Feed {
  /** A client that has come. `send` resolves when the frame has left. */
  open(query: URLSearchParams, send: (frame: Uint8Array) => Promise<void>): FeedClient
}

/** One client of a feed. */
export interface FeedClient {
  /** A message of the client. False if it is none that there is. */
  heard(message: string): boolean
  /** The client is gone. */
  end(): void
  /** Resolves when the feed has nothing more to say. */
  readonly ended: Promise<void>
}

export interface LiveLimits {
  /** The places of live views, which networks share. */
  readonly mostClients: number
  /** The largest message of a client. */
  readonly messageBytes: number
  /** A client may send so many messages at once, and then one in each `messageEveryMs`. */
  readonly mostMessages: number
  readonly messageEveryMs: number
  /** How often a client has to show that it is there. */
  readonly pingMs: number
  /** A client has to take a frame within this time. */
  readonly sendMs: number
}

const LIMITS: LiveLimits = {
  mostClients: 64,
  messageBytes: 4096,
  mostMessages: 10,
  messageEveryMs: 1_000,
  pingMs: 20_000,
  sendMs: 30_000,
}

/** The codes of a close, by RFC 6455. */
const CLOSE = { goingAway: 1001, unsupported: 1003, refused: 1008, failed: 1011 } as const
/** How long a client has to answer a close. */
const CLOSE_MS = 2_000
/** A client has nothing to say that needs more. */
const MOST_FRAGMENTS = 16
const MOST_CHUNKS = 1024

const NO_HANDSHAKE: Refusal = {
  status: 400,
  reason: 'This is no handshake of a WebSocket.',
  headers: { 'Sec-WebSocket-Version': '13' },
}

interface View {
  readonly client: WebSocket
  /** Its place is free from now on. */
  leave: () => void
}

export class LiveSockets implements Upgrades {
  readonly #path: string
  readonly #access: AccessRules
  readonly #tickets: Tickets
  readonly #feed: Feed
  readonly #limits: LiveLimits
  readonly #server: WebSocketServer
  readonly #pings: NodeJS.Timeout
  readonly #waiting = new WeakSet<WebSocket>()
  readonly #places: Places<View>

  constructor(
    path: string,
    access: AccessRules,
    tickets: Tickets,
    feed: Feed,
    limits: Partial<LiveLimits> = {},
  ) {
    this.#path = path
    this.#access = access
    this.#tickets = tickets
    this.#feed = feed
    this.#limits = { ...LIMITS, ...limits }
    this.#places = new Places(this.#limits.mostClients)
    const options: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      // A compressed message of a few bytes can be one of any size.
      perMessageDeflate: false,
      maxPayload: this.#limits.messageBytes,
      maxFragments: MOST_FRAGMENTS,
      maxBufferedChunks: MOST_CHUNKS,
      closeTimeout: CLOSE_MS,
    }
    this.#server = new WebSocketServer(options)
    // The library's own answer has none of the headers that keep a browser from using it.
    this.#server.on('wsClientError', (_, socket) => refuseUpgrade(socket, NO_HANDSHAKE))
    this.#pings = setInterval(() => this.#ping(), this.#limits.pingMs)
    this.#pings.unref()
  }

  refusal(request: IncomingMessage): Refusal | undefined {
    const { path, query } = addressOf(request)
    const hasTicket = (): boolean => this.#tickets.take(query.get('ticket'))
    const refusal = socketRefusalOf(request, this.#access, hasTicket)
    if (refusal !== undefined) return refusal
    if (path !== this.#path || request.headers.upgrade?.toLowerCase() !== 'websocket')
      return { status: 400, reason: `Only ${this.#path} switches protocols, to websocket.` }
    if (this.#places.leaving(request.socket.remoteAddress) === 'full')
      return { status: 503, reason: 'Too many live views are open.' }
    return undefined
  }

  accept(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { remoteAddress } = request.socket
    this.#server.handleUpgrade(request, socket, head, client => {
      const leaving = this.#places.leaving(remoteAddress)
      if (typeof leaving === 'object') {
        leaving.leave()
        leaving.client.terminate()
      }
      const view: View = { client, leave: () => {} }
      view.leave = this.#places.enter(remoteAddress, view)
      client.on('close', () => view.leave())
      this.#serve(client, addressOf(request).query)
    })
  }

  /** Those that are there have to connect again, and to show that they may. */
  disconnect(): void {
    this.#tickets.clear()
    for (const client of this.#server.clients) client.close(CLOSE.refused)
  }

  async close(ms: number): Promise<void> {
    clearInterval(this.#pings)
    const clients = [...this.#server.clients]
    const closed = clients.map(client => new Promise(resolve => client.once('close', resolve)))
    for (const client of clients) client.close(CLOSE.goingAway)
    const timer = setTimeout(() => {
      for (const client of clients) client.terminate()
    }, ms)
    await Promise.all(closed)
    clearTimeout(timer)
  }

  #serve(client: WebSocket, query: URLSearchParams): void {
    // ws has closed the connection of a client that breaks the protocol.
    client.on('error', () => {})
    client.on('pong', () => this.#waiting.delete(client))
    const feed = this.#feed.open(query, frame => this.#send(client, frame))
    const isTooMuch = allowance(this.#limits.mostMessages, this.#limits.messageEveryMs)
    client.on('message', (data: Buffer, isBinary) => {
      if (isTooMuch() || isBinary || !feed.heard(data.toString('utf8'))) {
        client.close(isBinary ? CLOSE.unsupported : CLOSE.refused)
        // Whatever else it says is not heard.
        client.removeAllListeners('message')
      }
    })
    client.on('close', () => feed.end())
    feed.ended.then(
      () => client.close(CLOSE.goingAway),
      () => client.close(CLOSE.failed),
    )
  }

  #send(client: WebSocket, frame: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => client.terminate(), this.#limits.sendMs)
      client.send(frame, error => {
        clearTimeout(timer)
        if (error) reject(error)
        else resolve()
      })
    })
  }

  #ping(): void {
    for (const client of this.#server.clients) {
      if (this.#waiting.has(client)) client.terminate()
      else {
        this.#waiting.add(client)
        client.ping()
      }
    }
  }
}

function addressOf({ url = '' }: IncomingMessage): { path: string; query: URLSearchParams } {
  const [path = '', ...query] = url.split('?')
  return { path, query: new URLSearchParams(query.join('?')) }
}
