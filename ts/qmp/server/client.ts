/** One client of the server: its connection, from the greeting to its end. */

import type { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { clearTimeout, setTimeout } from 'node:timers'
import { setImmediate } from 'node:timers/promises'
import type { Commands } from './commands.js'
import { Dispatcher, GREETING } from './dispatcher.js'
import { jsonText } from './json.js'
import { RequestStream, RequestTooLongError } from './requests.js'

/** What a client may cost before it is dropped. */
export interface ClientLimits {
  /** The bytes that wait for a client which does not read. */
  readonly outputBytes: number
  /** How long a client may leave output unread, in ms. */
  readonly unreadMs: number
}

export const CLIENT_LIMITS: ClientLimits = { outputBytes: 4 * 2 ** 20, unreadMs: 10_000 }

/** How long the requests of one client may keep the others waiting, in ms. */
const TURN_MS = 4

/** Says why a client is not served, and ends its connection. */
export function turnAway(socket: Socket, desc: string): void {
  // It may have gone already.
  socket.on('error', () => {})
  const text = `${jsonText({ error: { class: 'GenericError', desc } })}\r\n`
  socket.end(text, () => socket.destroy())
}

export class Client {
  readonly #socket: Socket
  readonly #dispatcher: Dispatcher
  readonly #limits: ClientLimits
  readonly #requests = new RequestStream()
  #isAnswering = false
  #isEnding = false
  /** Runs while output waits for the client. */
  #patience: ReturnType<typeof setTimeout> | undefined

  constructor(socket: Socket, commands: Commands, limits: ClientLimits) {
    this.#socket = socket
    this.#dispatcher = new Dispatcher(commands)
    this.#limits = limits
    // A client that breaks its connection harms nobody; the loop of serve() ends then.
    socket.on('error', () => {})
    socket.on('drain', () => this.#stopWaiting())
    socket.on('close', () => this.#stopWaiting())
  }

  /** Serves the client until it leaves, is dropped, or the server ends. Never rejects. */
  async serve(): Promise<void> {
    this.#send(GREETING)
    try {
      // A client may end its side as soon as it has sent everything, and still wants its answers.
      for await (const chunk of this.#socket.iterator({ destroyOnReturn: false }))
        await this.#answerAll(chunk)
    } catch {
      // The connection broke, or ended for what the client sent.
    }
    await this.#hangUp()
  }

  /** Sends an event, to a client that has ended the negotiation. */
  event(message: object): void {
    if (this.#dispatcher.isNegotiated) this.#send(message)
  }

  /** Ends the connection once the client has the answer that it waits for. */
  end(): void {
    this.#isEnding = true
    if (!this.#isAnswering) void this.#hangUp()
  }

  async #answerAll(chunk: Uint8Array): Promise<void> {
    let turnEnds = performance.now() + TURN_MS
    try {
      for (const request of this.#requests.push(chunk)) {
        if (this.#isEnding || this.#socket.destroyed) return
        this.#isAnswering = true
        this.#send(await this.#dispatcher.answer(request))
        this.#isAnswering = false
        // No further request is read before the client has read this answer.
        await this.#read()
        if (performance.now() < turnEnds) continue
        // An answer that nothing has to be waited for lets no other client be heard.
        await setImmediate()
        turnEnds = performance.now() + TURN_MS
      }
    } catch (error) {
      if (!(error instanceof RequestTooLongError)) throw error
      this.#send({ error: { class: 'GenericError', desc: error.message } })
      throw error
    } finally {
      if (this.#isEnding) await this.#hangUp()
    }
  }

  #send(message: object): void {
    const socket = this.#socket
    if (socket.destroyed || socket.writableEnded) return
    socket.write(`${jsonText(message)}\r\n`)
    if (socket.writableLength > this.#limits.outputBytes) socket.destroy()
    else if (socket.writableNeedDrain) this.#wait()
  }

  #wait(): void {
    this.#patience ??= setTimeout(() => this.#socket.destroy(), this.#limits.unreadMs)
  }

  #stopWaiting(): void {
    clearTimeout(this.#patience)
    this.#patience = undefined
  }

  /** Resolves when the client has taken its output, or is gone. */
  #read(): Promise<void> | undefined {
    const socket = this.#socket
    if (!socket.writableNeedDrain || socket.destroyed) return undefined
    return new Promise(resolve => {
      const done = (): void => {
        socket.off('drain', done)
        socket.off('close', done)
        resolve()
      }
      socket.on('drain', done)
      socket.on('close', done)
    })
  }

  /** Closes the connection when everything was taken, or nobody takes it in time. */
  async #hangUp(): Promise<void> {
    const socket = this.#socket
    if (socket.destroyed) return
    this.#wait()
    await new Promise<void>(resolve => {
      socket.once('close', () => resolve())
      if (!socket.writableEnded) socket.end(() => socket.destroy())
    })
  }
}
