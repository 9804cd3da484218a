/**
 * The monitor of one target. It serves one client at a time, so everything that the target does at
 * the same time shares one connection. The connection is closed when nobody needs it any more.
 */

import type { Signal } from '../../ground/abort.js'
import { hasCode } from '../../ground/errors.js'
import type { Address } from '../../ground/listener.js'
import { abortable } from '../../ground/pause.js'
import { QmpConnection } from '../../qmp/connection.js'
import { lost } from '../../qmp/monitor-errors.js'
import { formatAddress } from './address.js'

/** A connection for the time of one use. */
export interface Use {
  /**
   * The open connection. Rejects with the errors of `QmpConnection.open`, and with ERR_TARGET_GONE
   * in place of ERR_TARGET_ABSENT if this use had a connection before.
   */
  connection(): Promise<QmpConnection>
  /**
   * Executes a command. If the monitor has closed the connection, this connects again and tries
   * once more. So the command must be one that may be executed twice.
   */
  ask(command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown>
  /** Whether the connection was lost since this use began. */
  readonly reconnected: boolean
}

export class Monitor {
  readonly address: Address
  #users = 0
  #opened: Promise<QmpConnection> | undefined
  /** What `#opened` has given. */
  #connection: QmpConnection | undefined

  constructor(address: Address) {
    this.address = address
  }

  /** Runs `act` with the connection. Everything rejects with `signal.reason` after an abort. */
  async use<T>(act: (use: Use) => Promise<T>, signal?: Signal): Promise<T> {
    this.#users++
    try {
      let first: QmpConnection | undefined
      let reconnected = false
      const connection = async (): Promise<QmpConnection> => {
        const open = await abortable(this.#connect(), signal).catch(error => {
          // What this use has talked to was there.
          if (first === undefined || !hasCode(error, 'ERR_TARGET_ABSENT')) throw error
          throw lost(formatAddress(this.address), 'nobody listens there any more')
        })
        first ??= open
        reconnected ||= open !== first
        return open
      }
      const ask: Use['ask'] = async (command, args = {}) => {
        const open = await connection()
        try {
          return await open.execute(command, args, signal)
        } catch (error) {
          if (!hasCode(error, 'ERR_TARGET_GONE')) throw error
          const again = await connection()
          return again.execute(command, args, signal)
        }
      }
      return await act({
        connection,
        ask,
        get reconnected() {
          return reconnected
        },
      })
    } finally {
      if (--this.#users === 0) this.#close()
    }
  }

  #connect(): Promise<QmpConnection> {
    if (this.#opened !== undefined && this.#connection?.closed !== true) return this.#opened
    const opened = QmpConnection.open(this.address)
    this.#opened = opened
    this.#connection = undefined
    opened.then(
      connection => {
        if (this.#opened === opened) this.#connection = connection
      },
      () => {
        if (this.#opened === opened) this.#opened = undefined
      },
    )
    return opened
  }

  #close(): void {
    const opened = this.#opened
    this.#opened = undefined
    this.#connection = undefined
    opened?.then(
      connection => connection.close(),
      () => {},
    )
  }
}
