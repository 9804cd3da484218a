/** Serves QEMU's commands about the dirty rate of one target, to any number of clients. */

import { createServer, type Server, type Socket } from 'node:net'
import { clearTimeout, setTimeout } from 'node:timers'
import {
  type OptionNames,
  parseFlag,
  parseObject,
  parseOptions,
  parseSignal,
  parseText,
} from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'
import { emit } from '../../ground/log.js'
import type { EventName } from '../../qapi/schema.js'
import type { Control } from '../../targets/target.js'
import { CLIENT_LIMITS, Client, type ClientLimits, turnAway } from './client.js'
import { Commands, isGone, type ServedTarget } from './commands.js'
import { listenAt, parseSocketPath } from './socket-file.js'

/** What {@link createQmpServer} takes. */
export interface QmpServerOptions {
  /** Where the server listens: the path of a Unix socket, which only its owner can connect to. */
  socket: string
  /**
   * Serves `stop`, `cont` and `quit` also for a VM that this process did not make. The default is
   * false. ERR_ARGUMENT if the target has no `control`.
   */
  allowControl?: boolean | undefined
  /** Ends the starting; the promise then rejects with `signal.reason`. */
  signal?: AbortSignal | undefined
}

/**
 * Why a server has ended: by `close()`, by the command `quit`, with its guest, or because the
 * target is no longer there.
 */
export type QmpServerEnd = 'closed' | 'quit' | 'guest-shutdown' | 'guest-crashed' | 'target-gone'

/** A server that listens. */
export interface QmpServer {
  /** Where it listens. */
  readonly socket: string
  /** The names of the commands that it serves. */
  readonly commands: readonly string[]
  /** How many clients are connected. */
  readonly clients: number
  /** Resolves when the server has ended, and says why. Never rejects. */
  readonly ended: Promise<QmpServerEnd>
  /**
   * Ends the server: its socket is removed, and each client is let go once it has its answer. The
   * target stays open. Calling it again changes nothing.
   */
  close(): Promise<void>
  /** {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

const OPTIONS: OptionNames<QmpServerOptions> = { socket: true, allowControl: true, signal: true }

/**
 * How often a target is asked for its state that does not report the end of its VM, in ms. A look
 * takes the monitor of a QEMU for a moment, or runs virsh.
 */
const LOOK_MS = 10_000
const LIMITS: ServerLimits = { ...CLIENT_LIMITS, lookMs: LOOK_MS }

interface ServerLimits extends ClientLimits {
  readonly lookMs: number
}

/** A server does not take all descriptors of its process. Further clients are turned away. */
const MOST_CLIENTS = 256

/** What QEMU's event SHUTDOWN says of each end. */
const SHUTDOWNS: Readonly<Record<QmpServerEnd, { guest: boolean; reason: string }>> = {
  closed: { guest: false, reason: 'host-signal' },
  quit: { guest: false, reason: 'host-qmp-quit' },
  'guest-shutdown': { guest: true, reason: 'guest-shutdown' },
  'guest-crashed': { guest: true, reason: 'guest-panic' },
  'target-gone': { guest: false, reason: 'host-error' },
}

/** The ends of a server that the states of its target are. */
const ENDS: ReadonlyMap<string, QmpServerEnd> = new Map([
  ['shutdown', 'guest-shutdown'],
  ['crashed', 'guest-crashed'],
  ['closed', 'target-gone'],
  // The word of libvirt.
  ['shut off', 'target-gone'],
])

/**
 * Serves QEMU's Machine Protocol for a target: what measures the dirty rate of a QEMU can measure
 * the target then. The server ends with `close()`, with the command `quit`, and when the guest
 * ends. Rejects with ERR_ARGUMENT, ERR_SOCKET, or the signal's reason.
 *
 * @example
 * ```ts
 * import { createQmpServer, openTarget } from 'dirtyrate'
 *
 * const target = await openTarget('guest:stride,rate=100MiB/s')
 * const server = await createQmpServer(target, { socket: '/tmp/vm.qmp' })
 * console.log(server.commands)
 * await server.close()
 * await target.close()
 * ```
 */
export function createQmpServer(
  target: ServedTarget,
  options: QmpServerOptions,
): Promise<QmpServer> {
  return serve(target, options)
}

/**
 * {@link createQmpServer} with other limits.
 *
 * @internal
 */
export async function serve(
  target: ServedTarget,
  options: QmpServerOptions,
  limits: Partial<ServerLimits> = {},
): Promise<QmpServer> {
  parseObject(target, 'target', 'what openTarget() gives')
  parseOptions(options, OPTIONS, 'options', "{ socket: '/run/vm.qmp' }")
  const { socket, allowControl = false } = options
  const path = parseSocketPath(parseText(socket, 'socket'), 'socket')
  const control = controlOf(target, parseFlag(allowControl, 'allowControl'))
  const signal = parseSignal(options.signal)
  signal?.throwIfAborted()
  const server = new ListeningServer(target, control, path, { ...LIMITS, ...limits })
  await server.listen()
  if (signal?.aborted !== true) return server
  await server.close()
  throw signal.reason
}

/** The control that clients get over the VM, if they get any. */
function controlOf(target: ServedTarget, allowed: boolean): Control | undefined {
  const { control } = target
  if (control === undefined && allowed) {
    throw argumentError(
      `allowControl: ${target.uri} can be measured, but not controlled`,
      'Leave it out.',
    )
  }
  return allowed || control?.isOwn === true ? control : undefined
}

class ListeningServer implements QmpServer {
  readonly socket: string
  readonly #server: Server
  readonly #target: ServedTarget
  readonly #commands: Commands
  readonly #clients = new Map<Client, Promise<void>>()
  readonly #limits: ServerLimits
  /** Set once `quit` was sent. */
  #isQuitting = false
  #closing: Promise<void> | undefined
  #unwatch: () => void = () => {}
  #stopListening: () => Promise<void> = async () => {}
  #settleEnd: (end: QmpServerEnd) => void = () => {}
  readonly ended: Promise<QmpServerEnd> = new Promise(resolve => {
    this.#settleEnd = resolve
  })

  constructor(
    target: ServedTarget,
    control: Control | undefined,
    socket: string,
    limits: ServerLimits,
  ) {
    this.socket = socket
    this.#target = target
    this.#limits = limits
    this.#commands = new Commands(target, control && this.#watched(control), () =>
      this.#lookForEnd(),
    )
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: false }, connection => {
      if (this.#clients.size >= MOST_CLIENTS) return this.#turnAway(connection)
      const client = new Client(connection, this.#commands, this.#limits)
      const served = client.serve().finally(() => this.#clients.delete(client))
      this.#clients.set(client, served)
    })
  }

  async listen(): Promise<void> {
    this.#stopListening = await listenAt(this.#server, this.socket)
    // A connection that could not be accepted is the loss of its client.
    this.#server.on('error', () => {})
    this.#unwatch =
      this.#target.onStateChange?.(change => this.#onStateChange(change)) ?? this.#lookAgain()
  }

  #turnAway(connection: Socket): void {
    const text = `the server has ${MOST_CLIENTS} clients, and takes no more: try again later`
    emit('warn', 'dirtyrate::qmp', text, { socket: this.socket })
    turnAway(connection, text)
  }

  get commands(): readonly string[] {
    return this.#commands.names
  }

  get clients(): number {
    return this.#clients.size
  }

  close(): Promise<void> {
    this.#closing ??= this.#close('closed')
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** The control of the target; the server learns of `quit`, and tells the clients. */
  #watched(control: Control): Control {
    const hears = this.#target.onStateChange !== undefined
    return {
      isOwn: control.isOwn,
      pause: async () => {
        await control.pause()
        if (!hears) this.#tell('STOP')
      },
      resume: async () => {
        await control.resume()
        if (!hears) this.#tell('RESUME')
      },
      shutdown: async () => {
        this.#isQuitting = true
        await control.shutdown().catch((error: unknown) => {
          this.#isQuitting = false
          throw error
        })
        if (!hears) this.#onEnd('quit')
      },
    }
  }

  /** Looks for the end of the VM again and again. The returned function ends that. */
  #lookAgain(): () => void {
    let timer: ReturnType<typeof setTimeout> | undefined
    const look = async (): Promise<void> => {
      await this.#lookForEnd()
      if (this.#closing === undefined) wait()
    }
    const wait = (): void => {
      timer = setTimeout(() => void look(), this.#limits.lookMs).unref()
    }
    wait()
    return () => clearTimeout(timer)
  }

  /** Ends the server if the VM has ended. A command may fail for a monitor that is there again. */
  async #lookForEnd(): Promise<void> {
    try {
      const end = ENDS.get((await this.#target.describe()).state)
      if (end !== undefined) this.#onEnd(end)
    } catch (error) {
      if (isGone(error)) this.#onEnd('target-gone')
    }
  }

  #onStateChange({ from, to }: { from: string; to: string }): void {
    if (to === 'paused') this.#tell('STOP')
    if (to === 'running' && from === 'paused') this.#tell('RESUME')
    const end = ENDS.get(to)
    if (end !== undefined) this.#onEnd(this.#isQuitting ? 'quit' : end)
  }

  #onEnd(end: QmpServerEnd): void {
    if (this.#closing !== undefined) return
    this.#tell('SHUTDOWN', SHUTDOWNS[end])
    this.#closing = this.#close(end)
  }

  #tell(event: EventName, data?: object): void {
    const now = performance.timeOrigin + performance.now()
    const seconds = Math.floor(now / 1000)
    const microseconds = Math.floor((now - seconds * 1000) * 1000)
    const timestamp = { seconds, microseconds }
    for (const client of this.#clients.keys()) {
      client.event({ timestamp, event, ...(data === undefined ? {} : { data }) })
    }
  }

  async #close(end: QmpServerEnd): Promise<void> {
    this.#unwatch()
    await this.#stopListening()
    for (const client of this.#clients.keys()) client.end()
    await Promise.all(this.#clients.values())
    this.#settleEnd(end)
  }
}
