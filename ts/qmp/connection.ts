/**
 * A client's connection to a QMP monitor: capabilities, commands with ids, events. A monitor serves
 * one client at a time, so a connection is held for no longer than it is used.
 */

import type { Socket } from 'node:net'
import { clearTimeout, setTimeout } from 'node:timers'
import type { Signal } from '../ground/abort.js'
import { DirtyRateError } from '../ground/errors.js'
import type { Address } from '../ground/listener.js'
import { QapiError } from '../qapi/error.js'
import {
  type ConnectOptions,
  type Greeted,
  isRecord,
  parsed,
  type QemuVersion,
  queued,
} from './greeting.js'
import { foreign, lost, unanswered } from './monitor-errors.js'

/** An event of QEMU. */
export interface QmpEvent {
  readonly event: string
  readonly data: Readonly<Record<string, unknown>>
}

interface Pending {
  resolve(value: unknown): void
  reject(error: unknown): void
}

const ANSWER_MS = 10_000

export class QmpConnection {
  /** The version of the QEMU behind the monitor. */
  readonly version: QemuVersion
  readonly #socket: Socket
  readonly #where: string
  readonly #address: Address
  readonly #answerMs: number
  readonly #pending = new Map<string, Pending>()
  /** The commands that the monitor has not answered, also those for which nobody waits any more. */
  readonly #unanswered = new Set<string>()
  readonly #listeners = new Set<(event: QmpEvent) => void>()
  #lastId = 0
  #end: DirtyRateError | undefined

  /**
   * Connects, waits for the greeting and leaves the negotiation. Rejects with ERR_TARGET_ABSENT,
   * ERR_TARGET_PERMISSION, ERR_QMP_BUSY, ERR_QMP_PROTOCOL, ERR_TARGET_GONE, ERR_TARGET_TIMEOUT, or
   * the signal's reason; nothing is left open then.
   */
  static async open(address: Address, options: ConnectOptions = {}): Promise<QmpConnection> {
    const { answerMs = ANSWER_MS, signal } = options
    const connection = new QmpConnection(await queued(address, options), answerMs)
    try {
      await connection.execute('qmp_capabilities', {}, signal)
    } catch (error) {
      connection.close()
      throw error
    }
    return connection
  }

  private constructor(greeted: Greeted, answerMs: number) {
    const { socket, stream, version, where, address, early } = greeted
    this.version = version
    this.#socket = socket
    this.#where = where
    this.#address = address
    this.#answerMs = answerMs
    socket.on('data', chunk =>
      this.#guarded(() => {
        for (const text of stream.push(chunk)) this.#receive(text)
      }),
    )
    socket.on('error', error => this.#fail(lost(where, error.message)))
    socket.on('close', () => this.#fail(lost(where)))
    for (const text of early) this.#guarded(() => this.#receive(text))
    if (socket.destroyed) this.#fail(lost(where))
    else socket.resume()
  }

  /** Whether the connection has ended. */
  get closed(): boolean {
    return this.#end !== undefined
  }

  /**
   * Sends a command; resolves with what it returns. Rejects with QapiError (QEMU's own words),
   * ERR_TARGET_GONE, ERR_TARGET_TIMEOUT, ERR_QMP_PROTOCOL, ERR_CLOSED, or the signal's reason. A
   * late answer is dropped, and the connection stays usable.
   */
  execute(
    command: string,
    args: Readonly<Record<string, unknown>> = {},
    signal?: Signal | undefined,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) return reject(this.#end)
      if (signal?.aborted === true) return reject(signal.reason)
      const id = String(++this.#lastId)
      const settle = (act: () => void): void => {
        if (!this.#pending.delete(id)) return
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        act()
      }
      const onAbort = (): void => settle(() => reject(signal?.reason))
      const timer = setTimeout(
        () => settle(() => reject(unanswered(this.#where, this.#address, command, this.#answerMs))),
        this.#answerMs,
      )
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#unanswered.add(id)
      this.#pending.set(id, {
        resolve: value => settle(() => resolve(value)),
        reject: error => settle(() => reject(error)),
      })
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\r\n`)
    })
  }

  /** Calls `listener` at each event of QEMU. The returned function removes it. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Ends the connection, so that the monitor serves the next client. Idempotent. */
  close(): void {
    this.#fail(new DirtyRateError('ERR_CLOSED', `the connection to ${this.#where} is closed`))
  }

  #receive(text: string): void {
    const message = parsed(text)
    if (message === undefined) throw foreign(this.#where, text)
    if (typeof message.event === 'string') {
      const event = { event: message.event, data: isRecord(message.data) ? message.data : {} }
      for (const listener of [...this.#listeners]) listener(event)
      return
    }
    const { error } = message
    const isError = isRecord(error) && typeof error.desc === 'string'
    // QEMU's answer to what it could not read has no id. It answers in order, so that this one is
    // for the oldest command without an answer.
    const [oldest] = isError ? this.#unanswered : []
    const id = typeof message.id === 'string' ? message.id : oldest
    if (!isError && (id === undefined || !('return' in message))) throw foreign(this.#where, text)
    // An error about nothing that was sent is for nobody.
    if (id === undefined) return
    this.#unanswered.delete(id)
    const pending = this.#pending.get(id)
    if (isError) pending?.reject(new QapiError(String(error.desc), { class: String(error.class) }))
    else pending?.resolve(message.return)
  }

  /** What the peer sent and nobody can use ends the connection. */
  #guarded(act: () => void): void {
    if (this.#end !== undefined) return
    try {
      act()
    } catch (error) {
      this.#fail(
        error instanceof DirtyRateError ? error : foreign(this.#where, (error as Error).message),
      )
    }
  }

  #fail(error: DirtyRateError): void {
    if (this.#end !== undefined) return
    this.#end = error
    this.#socket.destroy()
    for (const pending of [...this.#pending.values()]) pending.reject(error)
    this.#listeners.clear()
  }
}
