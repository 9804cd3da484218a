/** What the page shows now: the server's events, or those of a recording. */

import { isDirtyRateError } from '../ts/ground/errors.js'
import { Connection, type ConnectionState, type Socket } from './live/connection.js'
import { type ReadRecording, readRecording } from './live/recording.js'
import type { PageEvent, State } from './state/state.js'
import { Store } from './state/store.js'

/** A curve takes as long as its longest window. Then the button can be used again. */
const LONGEST_CURVE_MS = 120_000

export interface SessionOptions {
  readonly open: (
    after: number,
    run: string | undefined,
    token: string | undefined,
  ) => Promise<Socket | 'token'>
}

export class Session {
  readonly #live = new Store()
  readonly #played = new Store()
  readonly #connection: Connection
  readonly #listeners = new Set<() => void>()
  #token: string | undefined
  connection: ConnectionState = { kind: 'connecting' }
  recording: ({ readonly name: string } & ReadRecording) | undefined
  /** The recording that is being read. */
  opening: { readonly name: string } | undefined
  recordingError: string | undefined
  /** The targets whose curve was asked for, with what ends the wait for it. */
  readonly measuring = new Map<string, ReturnType<typeof setTimeout>>()
  /** Why the server measures no curve of a target. */
  readonly refusals = new Map<string, string>()

  constructor({ open }: SessionOptions) {
    for (const store of [this.#live, this.#played]) store.subscribe(() => this.#changed())
    this.#token = keptToken()
    this.#connection = new Connection({
      open: (after, run) => open(after, run, this.#token),
      listener: {
        events: events => this.#told(events),
        changed: state => {
          this.connection = state
          this.#changed()
        },
        answered: ({ target, accepted, reason }) => {
          if (accepted) return
          this.#measured(target)
          this.refusals.set(target, reason ?? 'The server does not measure it now.')
          this.#changed()
        },
      },
    })
  }

  /** Whether the server has refused the token that this page has. */
  get wasRefused(): boolean {
    return this.connection.kind === 'token' && this.#token !== undefined
  }

  get state(): State {
    return (this.recording === undefined ? this.#live : this.#played).state
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  start(): void {
    this.#connection.connect()
  }

  reconnect(): void {
    this.#connection.connect()
  }

  useToken(token: string): void {
    this.#token = token
    keepToken(token)
    this.#connection.connect()
  }

  measureCurve(target: string): void {
    this.#measured(target)
    const end = setTimeout(() => {
      this.measuring.delete(target)
      this.#changed()
    }, LONGEST_CURVE_MS)
    this.measuring.set(target, end)
    this.refusals.delete(target)
    this.#connection.measureCurve(target)
    this.#changed()
  }

  async openRecording(file: File): Promise<void> {
    // A file that was chosen later is shown, also if it is read sooner.
    const opening = { name: file.name }
    this.opening = opening
    this.recordingError = undefined
    this.#changed()
    const played = new Store()
    try {
      const read = await readRecording(file, events => {
        if (this.opening !== opening) throw new Error('another file was chosen')
        played.add(events)
      })
      this.#played.become(played)
      this.recording = { name: file.name, ...read }
    } catch (error) {
      if (this.opening !== opening) return
      const why = isDirtyRateError(error) ? error.message : String(error)
      this.recordingError = `${file.name} cannot be opened: ${why}.`
    }
    this.opening = undefined
    this.#changed()
  }

  closeRecording(): void {
    this.recording = undefined
    this.#played.clear()
    this.#changed()
  }

  #told(events: readonly PageEvent[]): void {
    for (const event of events)
      if (event.kind === 'curve' || (event.kind === 'failed' && event.retryMs === undefined))
        this.#measured(event.target)
    this.#live.add(events)
  }

  /** Nobody waits for the curve any more. */
  #measured(target: string): void {
    clearTimeout(this.measuring.get(target))
    this.measuring.delete(target)
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
  }
}

const TOKEN = 'dirtyrate.token'

function keptToken(): string | undefined {
  try {
    return sessionStorage.getItem(TOKEN) ?? undefined
  } catch {
    return undefined
  }
}

function keepToken(token: string): void {
  try {
    sessionStorage.setItem(TOKEN, token)
  } catch {
    // Then the next load asks again.
  }
}
