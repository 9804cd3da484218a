/**
 * A client's connection to a QMP monitor: greeting, capabilities, commands with ids, events. A
 * monitor serves one client at a time, so a connection is held for no longer than it is used.
 */

import { statSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { clearTimeout, setTimeout } from 'node:timers'
import type { Signal } from '../ground/abort.js'
import { shortened } from '../ground/arguments.js'
import { DirtyRateError, type ErrorCode } from '../ground/errors.js'
import { isSocketFile } from '../ground/socket-file.js'
import { QapiError } from '../qapi/error.js'
import { JsonStream } from './json-stream.js'

/** Where a monitor listens. */
export type QmpAddress =
  | { readonly path: string }
  | { readonly host: string; readonly port: number }

/** The version of a QEMU, as its greeting says it. */
export interface QemuVersion {
  readonly major: number
  readonly minor: number
  readonly micro: number
  /** What a distribution calls its package. */
  readonly package: string
}

/** An event of QEMU. */
export interface QmpEvent {
  readonly event: string
  readonly data: Readonly<Record<string, unknown>>
}

export interface ConnectOptions {
  /** How long to wait for the connection and the greeting, in ms. Default 2000. */
  readonly greetingMs?: number
  /** How long to wait for the answer to a command, in ms. Default 10,000. */
  readonly answerMs?: number
  /** Ends the connecting; the promise then rejects with `signal.reason`. */
  readonly signal?: Signal | undefined
}

/** How an open connection is used. */
interface Open {
  readonly socket: Socket
  readonly stream: JsonStream
  readonly version: QemuVersion
  readonly where: string
  readonly answerMs: number
  /** What came behind the greeting. */
  readonly early: readonly string[]
}

interface Pending {
  resolve(value: unknown): void
  reject(error: unknown): void
}

const GREETING_MS = 2000
const ANSWER_MS = 10_000
/** How long to wait until the queue of a monitor may have room again. */
const QUEUE_LOOK_MS = 50

/** What the errors of a socket mean to somebody who wants to reach a VM. */
const SOCKET_ERRORS: Readonly<Record<string, { code: ErrorCode; meaning: string }>> = {
  ENOENT: { code: 'ERR_TARGET_ABSENT', meaning: 'there is no such socket' },
  ENOTSOCK: { code: 'ERR_TARGET_ABSENT', meaning: 'this file is no socket' },
  ECONNREFUSED: {
    code: 'ERR_TARGET_ABSENT',
    meaning: 'nobody listens there: the QEMU of this socket has ended',
  },
  ENOTFOUND: { code: 'ERR_TARGET_ABSENT', meaning: 'there is no host of this name' },
  EACCES: { code: 'ERR_TARGET_PERMISSION', meaning: 'this user may not connect to it' },
  EPERM: { code: 'ERR_TARGET_PERMISSION', meaning: 'this user may not connect to it' },
  // The queue of those who wait for the monitor is full.
  EAGAIN: { code: 'ERR_QMP_BUSY', meaning: 'too many other clients wait for this monitor' },
}

export class QmpConnection {
  /** The version of the QEMU behind the monitor. */
  readonly version: QemuVersion
  readonly #socket: Socket
  readonly #where: string
  readonly #answerMs: number
  readonly #pending = new Map<string, Pending>()
  readonly #listeners = new Set<(event: QmpEvent) => void>()
  #lastId = 0
  #end: DirtyRateError | undefined

  /**
   * Connects, waits for the greeting and leaves the negotiation. Rejects with ERR_TARGET_ABSENT,
   * ERR_TARGET_PERMISSION, ERR_QMP_BUSY, ERR_QMP_PROTOCOL, ERR_TARGET_GONE, ERR_TARGET_TIMEOUT, or
   * the signal's reason; nothing is left open then.
   */
  static async open(address: QmpAddress, options: ConnectOptions = {}): Promise<QmpConnection> {
    const { answerMs = ANSWER_MS, signal } = options
    const open = await queued(address, options)
    const connection = new QmpConnection({ ...open, answerMs })
    try {
      await connection.execute('qmp_capabilities', {}, signal)
    } catch (error) {
      connection.close()
      throw error
    }
    return connection
  }

  private constructor({ socket, stream, version, where, answerMs, early }: Open) {
    this.version = version
    this.#socket = socket
    this.#where = where
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
        () => settle(() => reject(unanswered(this.#where, command, this.#answerMs))),
        this.#answerMs,
      )
      signal?.addEventListener('abort', onAbort, { once: true })
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
    const { id, error } = message
    if (isRecord(error) && typeof error.desc === 'string') {
      // QEMU's answer to what it could not read has no id: it is for the command that has waited
      // longest.
      const waiting = typeof id === 'string' ? id : (this.#pending.keys().next().value ?? '')
      this.#pending.get(waiting)?.reject(new QapiError(error.desc, { class: String(error.class) }))
    } else if (typeof id === 'string' && 'return' in message)
      this.#pending.get(id)?.resolve(message.return)
    else throw foreign(this.#where, text)
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

/**
 * Connects as soon as the queue of the monitor has room. QEMU takes a while to drop clients that
 * have left the queue.
 */
async function queued(
  address: QmpAddress,
  { greetingMs = GREETING_MS, signal }: ConnectOptions,
): Promise<Omit<Open, 'answerMs'>> {
  const give = performance.now() + greetingMs
  for (;;) {
    const left = Math.max(Math.ceil(give - performance.now()), QUEUE_LOOK_MS)
    try {
      return await greeted(address, { greetingMs: left, signal })
    } catch (error) {
      if (!isQueueFull(error) || performance.now() >= give) throw error
    }
    await new Promise<void>(resolve => {
      setTimeout(resolve, QUEUE_LOOK_MS)
    })
  }
}

const isQueueFull = (error: unknown): boolean =>
  ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code === 'EAGAIN'

/**
 * Connects and reads the greeting; sends nothing, because another client may have its turn before
 * us.
 */
function greeted(
  address: QmpAddress,
  { greetingMs = GREETING_MS, signal }: ConnectOptions,
): Promise<Omit<Open, 'answerMs'>> {
  const where = 'path' in address ? address.path : `${address.host}:${address.port}`
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason)
    const socket = connect(address)
    const stream = new JsonStream()
    const end = (act: () => void): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      socket.removeAllListeners()
      // The error of a socket that nobody needs any more is no news.
      socket.on('error', () => {})
      act()
    }
    const refuse = (error: unknown): void =>
      end(() => {
        socket.destroy()
        reject(error)
      })
    const onAbort = (): void => refuse(signal?.reason)
    const timer = setTimeout(() => refuse(silent(where, greetingMs, socket.connecting)), greetingMs)
    signal?.addEventListener('abort', onAbort, { once: true })
    socket.on('error', error => refuse(unreachable(where, ofFile(address, error))))
    socket.on('close', () => refuse(lost(where, 'it said nothing')))
    socket.on('data', chunk => {
      let texts: string[]
      try {
        texts = stream.push(chunk)
      } catch (error) {
        return refuse(foreign(where, (error as Error).message))
      }
      const [first, ...early] = texts
      if (first === undefined) return
      const version = versionOf(parsed(first))
      if (version === undefined) return refuse(foreign(where, first))
      socket.pause()
      end(() => resolve({ socket, stream, version, where, early }))
    })
  })
}

/**
 * Linux refuses a connection to any file, and Node reports the same for a socket without a server.
 */
function ofFile(address: QmpAddress, error: Error & { code?: string }): Error & { code?: string } {
  if (error.code !== 'ECONNREFUSED' || !('path' in address)) return error
  const isSocket = statSync(address.path, { throwIfNoEntry: false })?.isSocket() ?? true
  return isSocket ? error : Object.assign(error, { code: 'ENOTSOCK' })
}

function versionOf(greeting: Record<string, unknown> | undefined): QemuVersion | undefined {
  const version = isRecord(greeting?.QMP) ? greeting.QMP.version : undefined
  if (!isRecord(version) || !isRecord(version.qemu)) return undefined
  const { major, minor, micro } = version.qemu
  if (typeof major !== 'number' || typeof minor !== 'number' || typeof micro !== 'number')
    return undefined
  return {
    major,
    minor,
    micro,
    package: typeof version.package === 'string' ? version.package : '',
  }
}

/** The object that `text` is; undefined where it is none. */
function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function unreachable(where: string, error: Error & { code?: string }): DirtyRateError {
  // Linux refuses a connection to any other file as it does at a socket that nobody serves.
  const isOther = error.code === 'ECONNREFUSED' && where.includes('/') && !isSocketFile(where)
  const { code, meaning } = SOCKET_ERRORS[isOther ? 'ENOTSOCK' : (error.code ?? '')] ?? {
    code: 'ERR_TARGET_ABSENT',
    meaning: error.message,
  }
  return new DirtyRateError(code, `${where}: ${meaning}`, {
    cause: error,
    details: { path: where },
  })
}

function silent(where: string, ms: number, connecting: boolean): DirtyRateError {
  if (connecting) {
    return new DirtyRateError('ERR_TARGET_TIMEOUT', `${where}: no connection within ${ms} ms`, {
      details: { path: where },
    })
  }
  return new DirtyRateError(
    'ERR_QMP_BUSY',
    `${where}: no greeting within ${ms} ms, so another client has this monitor, or the socket is no QMP monitor`,
    { details: { path: where } },
  )
}

function unanswered(where: string, command: string, ms: number): DirtyRateError {
  return new DirtyRateError(
    'ERR_TARGET_TIMEOUT',
    `${where}: no answer to ${command} within ${ms} ms`,
    {
      details: { path: where, call: command },
    },
  )
}

function lost(where: string, why?: string): DirtyRateError {
  const text = `${where}: the monitor closed the connection${why === undefined ? '' : ` (${why})`}`
  return new DirtyRateError('ERR_TARGET_GONE', text, { details: { path: where } })
}

function foreign(where: string, said: string): DirtyRateError {
  return new DirtyRateError(
    'ERR_QMP_PROTOCOL',
    `${where}: this is not QMP: ${JSON.stringify(shortened(said))}`,
    {
      details: { path: where },
    },
  )
}
