/** The connection to the server: it comes again by itself, and asks for what was missed. */

import { decodeFrame, isEvent } from '../../ts/dashboard/frames.js'
import {
  type Control,
  type CurveAnswer,
  type Hello,
  type MeasureCurve,
  PROTOCOL,
} from '../../ts/dashboard/records.js'
import { isDirtyRateError } from '../../ts/ground/errors.js'
import type { PageEvent } from '../state/state.js'

/** How the connection is. */
export type ConnectionState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'open'; readonly source: Hello['source']; readonly caughtUp: boolean }
  | { readonly kind: 'lost'; readonly since: number; readonly retryAt: number }
  | { readonly kind: 'token' }
  | { readonly kind: 'failed'; readonly why: string }

export interface ConnectionListener {
  events(events: readonly PageEvent[]): void
  changed(state: ConnectionState): void
  answered(answer: CurveAnswer): void
}

/** What the page takes of a WebSocket. */
export type Socket = Pick<WebSocket, 'binaryType' | 'close' | 'send'> & {
  onmessage: ((event: MessageEvent) => void) | null
  onclose: ((event: CloseEvent) => void) | null
}

export interface ConnectionOptions {
  /**
   * Opens a socket; `token` if the server wants a token, or another one. Rejects if the server does
   * not answer.
   */
  readonly open: (after: number, run: string | undefined) => Promise<Socket | 'token'>
  readonly listener: ConnectionListener
}

const FIRST_RETRY_MS = 500
const LONGEST_RETRY_MS = 15_000
/** The server says that it is there much more often. */
const SILENCE_MS = 45_000

export class Connection {
  readonly #options: ConnectionOptions
  #socket: Socket | undefined
  #after = 0
  #run: string | undefined
  #failures = 0
  #lostSince: number | undefined
  #lastAt = 0
  #retry: ReturnType<typeof setTimeout> | undefined
  #silence: ReturnType<typeof setTimeout> | undefined
  /** What an older attempt brings does not count. */
  #attempt = 0
  #state: ConnectionState = { kind: 'connecting' }

  constructor(options: ConnectionOptions) {
    this.#options = options
  }

  /** Connects now, also if a later try is planned. */
  connect(): void {
    clearTimeout(this.#retry)
    this.#drop()
    if (this.#lostSince === undefined) this.#is({ kind: 'connecting' })
    this.#listen()
    const attempt = ++this.#attempt
    this.#options.open(this.#after, this.#run).then(
      socket => {
        if (attempt === this.#attempt) this.#opened(socket)
        else if (socket !== 'token') socket.close()
      },
      () => {
        if (attempt === this.#attempt) this.#lost()
      },
    )
  }

  #opened(socket: Socket | 'token'): void {
    if (socket === 'token') {
      this.close()
      this.#is({ kind: 'token' })
      return
    }
    socket.binaryType = 'arraybuffer'
    socket.onmessage = ({ data }) => this.#received(data as ArrayBuffer | string)
    socket.onclose = () => {
      if (this.#socket === socket) this.#lost()
    }
    this.#socket = socket
  }

  /** Ends the connection for good. */
  close(): void {
    this.#attempt++
    clearTimeout(this.#retry)
    this.#drop()
  }

  measureCurve(target: string): void {
    const message: MeasureCurve = { kind: 'measureCurve', target }
    this.#socket?.send(JSON.stringify(message))
  }

  #drop(): void {
    clearTimeout(this.#silence)
    const socket = this.#socket
    this.#socket = undefined
    socket?.close()
  }

  #received(data: ArrayBuffer | string): void {
    this.#listen()
    if (typeof data === 'string') return
    try {
      const events: PageEvent[] = []
      for (const record of decodeFrame(new Uint8Array(data))) {
        if (isEvent(record)) {
          this.#after = record.seq
          this.#lastAt = Math.max(this.#lastAt, record.event.at)
          events.push(record.event)
        } else {
          events.push(...this.#told(record.control))
        }
      }
      if (events.length > 0) this.#options.listener.events(events)
    } catch (error) {
      this.close()
      const why = isDirtyRateError(error) ? error.message : String(error)
      this.#is({ kind: 'failed', why: `The server sent what this page cannot read: ${why}.` })
    }
  }

  /** What the server says about the connection, as events where it is one for the page. */
  #told(control: Control): PageEvent[] {
    switch (control.kind) {
      case 'hello':
        return this.#greeted(control)
      case 'gap':
        this.#after = Math.max(this.#after, control.upTo)
        return [{ kind: 'missed', at: this.#lastAt }]
      case 'caught-up':
        if (this.#state.kind === 'open') this.#is({ ...this.#state, caughtUp: true })
        return []
      case 'alive':
        return [{ kind: 'served', at: control.at, targets: [], areAll: false }]
      case 'curve-answer':
        this.#options.listener.answered(control)
        return []
    }
  }

  #greeted({ protocol, run, source, targets, last }: Hello): PageEvent[] {
    if (protocol !== PROTOCOL) {
      this.close()
      this.#is({
        kind: 'failed',
        why: 'The server has another version than this page. Load the page again.',
      })
      return []
    }
    const isOtherRun = this.#run !== undefined && this.#run !== run
    this.#run = run
    if (isOtherRun) this.#after = 0
    this.#failures = 0
    this.#lostSince = undefined
    this.#is({ kind: 'open', source, caughtUp: this.#after >= last })
    const served: PageEvent = { kind: 'served', at: 0, targets, areAll: true }
    return isOtherRun ? [{ kind: 'missed', at: this.#lastAt }, served] : [served]
  }

  #lost(): void {
    this.#drop()
    this.#lostSince ??= Date.now()
    const wait = Math.min(FIRST_RETRY_MS * 2 ** this.#failures++, LONGEST_RETRY_MS)
    this.#is({ kind: 'lost', since: this.#lostSince, retryAt: Date.now() + wait })
    this.#retry = setTimeout(() => this.connect(), wait)
  }

  /** A connection that says nothing at all is as good as none. */
  #listen(): void {
    clearTimeout(this.#silence)
    this.#silence = setTimeout(() => {
      this.#attempt++
      this.#lost()
    }, SILENCE_MS)
  }

  #is(state: ConnectionState): void {
    this.#state = state
    this.#options.listener.changed(state)
  }
}
