/** The connections of the HTTP server: how many there may be, and what each of them does now. */

import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { Places } from './places.js'

interface Connection {
  readonly socket: Socket
  /** Its place is free from now on. */
  leave: () => void
  /** `asking` also before the first request, for which a client has a limited time. */
  state: 'asking' | 'answered' | 'idle' | 'upgraded'
}

export class Connections {
  readonly #places: Places<Connection>
  /** By the client's end: a request over TLS has another socket than its connection. */
  readonly #all = new Map<string, Connection>()

  /** A client that keeps a connection, and asks for nothing, makes room for others. */
  constructor(server: Server, most: number) {
    this.#places = new Places(most, ({ state }) => state === 'idle')
    server.on('connection', socket => this.#opened(socket))
  }

  /** A request has come. False if the one before is still being answered, or was too much. */
  asked(socket: Socket): boolean {
    const connection = this.#all.get(endOf(socket))
    if (connection === undefined || connection.state === 'answered') return false
    connection.state = 'answered'
    return true
  }

  /** The answer to a request has left. */
  answered(socket: Socket): void {
    const connection = this.#all.get(endOf(socket))
    if (connection !== undefined) connection.state = 'idle'
  }

  /** It speaks no HTTP any more. */
  upgraded(socket: Socket): void {
    const connection = this.#all.get(endOf(socket))
    if (connection !== undefined) connection.state = 'upgraded'
  }

  /** Ends all, also those that speak no HTTP any more, or not yet: WebSockets, and handshakes. */
  destroy(): void {
    for (const { socket } of this.#all.values()) socket.destroy()
  }

  #opened(socket: Socket): void {
    const { remoteAddress } = socket
    const end = endOf(socket)
    const leaving = this.#places.leaving(remoteAddress)
    if (leaving === 'full') {
      socket.destroy()
      return
    }
    if (leaving !== 'none') {
      leaving.leave()
      leaving.socket.destroy()
    }
    const connection: Connection = { socket, leave: () => {}, state: 'asking' }
    connection.leave = this.#places.enter(remoteAddress, connection)
    this.#all.set(end, connection)
    socket.once('close', () => {
      connection.leave()
      if (this.#all.get(end) === connection) this.#all.delete(end)
    })
  }
}

const endOf = ({ remoteAddress, remotePort, localAddress }: Socket): string =>
  `${remoteAddress} ${remotePort} ${localAddress}`
