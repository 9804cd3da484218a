/**
 * Connects to a monitor, and waits for its greeting. Nothing is sent, because another client may
 * have its turn before us.
 */

import { Buffer } from 'node:buffer'
import { connect, type Socket } from 'node:net'
import { relative } from 'node:path'
import { performance } from 'node:perf_hooks'
import { clearTimeout, setTimeout } from 'node:timers'
import type { Signal } from '../ground/abort.js'
import { show } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { hostProcess } from '../ground/host-process.js'
import type { Address } from '../ground/listener.js'
import { LONGEST_SOCKET_PATH } from '../ground/socket-file.js'
import { JsonStream } from './json-stream.js'
import {
  crowded,
  foreign,
  lost,
  silent,
  turnedAway,
  unfinished,
  unreachable,
} from './monitor-errors.js'

/** The version of a QEMU, as its greeting says it. */
export interface QemuVersion {
  readonly major: number
  readonly minor: number
  readonly micro: number
  /** What a distribution calls its package. */
  readonly package: string
}

export interface ConnectOptions {
  /** How long to wait for the connection and the greeting, in ms. Default 2000. */
  readonly greetingMs?: number
  /** How long to wait for the answer to a command, in ms. Default 10,000. */
  readonly answerMs?: number
  /** Ends the connecting; the promise then rejects with `signal.reason`. */
  readonly signal?: Signal | undefined
}

/** A connection that has been greeted. */
export interface Greeted {
  readonly socket: Socket
  readonly stream: JsonStream
  readonly version: QemuVersion
  readonly where: string
  readonly address: Address
  /** What came behind the greeting. */
  readonly early: readonly string[]
}

const GREETING_MS = 2000
/** How much of what is no greeting is kept for the error. */
const LONGEST_SAID = 1000
/** How long to wait until the queue of a monitor may have room again. */
const QUEUE_LOOK_MS = 50

/**
 * Connects as soon as the queue of the monitor has room. QEMU takes a while to drop clients that
 * have left the queue.
 */
export async function queued(
  address: Address,
  { greetingMs = GREETING_MS, signal }: ConnectOptions,
): Promise<Greeted> {
  const reachable = 'path' in address ? { path: pathToConnect(address.path) } : address
  const give = performance.now() + greetingMs
  for (;;) {
    const left = Math.max(Math.ceil(give - performance.now()), QUEUE_LOOK_MS)
    try {
      return await greeted(address, reachable, { greetingMs: left, signal })
    } catch (error) {
      if (!isQueueFull(error)) throw error
      if (performance.now() >= give) throw crowded(whereOf(address), address, error)
    }
    await new Promise<void>(resolve => {
      setTimeout(resolve, QUEUE_LOOK_MS)
    })
  }
}

/**
 * The shorter one of the absolute and the relative path. Throws ERR_ARGUMENT if both are too long:
 * Node would cut the path off, and connect to whatever is there.
 */
function pathToConnect(path: string): string {
  const near = relative(hostProcess.cwd(), path)
  const shorter = Buffer.byteLength(near) < Buffer.byteLength(path) ? near : path
  const bytes = Buffer.byteLength(shorter)
  if (bytes <= LONGEST_SOCKET_PATH) return shorter
  throw argumentError(
    `target: ${show(path)} has ${bytes} bytes, and the path of a socket has at most ${LONGEST_SOCKET_PATH}`,
    'Run the command in the folder of the socket, or give a link to it with a shorter path: ln -s PATH /tmp/vm.qmp',
  )
}

const whereOf = (address: Address): string =>
  'path' in address ? address.path : `${bracketed(address.host)}:${address.port}`

/** A host as it has to be typed before a port. */
export const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host)

const isQueueFull = (error: unknown): boolean =>
  ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code === 'EAGAIN'

/**
 * Connects and reads the greeting; sends nothing, because another client may have its turn before
 * us.
 */
function greeted(
  address: Address,
  reachable: Address,
  { greetingMs = GREETING_MS, signal }: ConnectOptions,
): Promise<Greeted> {
  const where = whereOf(address)
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason)
    const socket = connect(reachable)
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
    let said = ''
    const timer = setTimeout(() => {
      // Looked at before the connection is ended, which is one of those that are counted.
      const isSilent = said === ''
      refuse(
        isSilent
          ? silent(where, address, greetingMs, socket.connecting)
          : beginsGreeting(said)
            ? unfinished(where, greetingMs)
            : foreign(where, said),
      )
    }, greetingMs)
    signal?.addEventListener('abort', onAbort, { once: true })
    socket.on('error', error => refuse(unreachable(where, error)))
    socket.on('close', () => refuse(lost(where, 'it said nothing')))
    socket.on('data', chunk => {
      let texts: string[]
      if (said.length < LONGEST_SAID) said += chunk.toString('utf8', 0, LONGEST_SAID)
      try {
        texts = stream.push(chunk)
      } catch (error) {
        return refuse(foreign(where, (error as Error).message))
      }
      const [first, ...early] = texts
      if (first === undefined) return
      const message = parsed(first)
      const version = versionOf(message)
      if (version === undefined) {
        const { desc } = isRecord(message?.error) ? message.error : {}
        return refuse(typeof desc === 'string' ? turnedAway(where, desc) : foreign(where, first))
      }
      socket.pause()
      end(() => resolve({ socket, stream, version, where, address, early }))
    })
  })
}

/** Whether `said` may go on as a greeting, which is an object whose first member is `QMP`. */
function beginsGreeting(said: string): boolean {
  const text = said.replace(/\s/g, '')
  const begin = '{"QMP":{'
  return begin.startsWith(text) || text.startsWith(begin)
}

function versionOf(greeting: Record<string, unknown> | undefined): QemuVersion | undefined {
  const version = isRecord(greeting?.QMP) ? greeting.QMP.version : undefined
  if (!isRecord(version) || !isRecord(version.qemu)) return undefined
  const { major, minor, micro } = version.qemu
  if (!isPart(major) || !isPart(minor) || !isPart(micro)) return undefined
  return {
    major,
    minor,
    micro,
    package: typeof version.package === 'string' ? version.package : '',
  }
}

/** Whether it can be a part of a version. */
const isPart = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0

/** The object that `text` is; undefined where it is none. */
export function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
