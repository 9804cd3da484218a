/**
 * Appends events to a recording. The server goes on whatever happens to the file: if the disk is
 * full or slow, events are left out, which is said, and the file is tried again.
 */

import { constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DashboardEvent } from '../../dashboard/events.js'
import { packEvent } from '../../dashboard/frames.js'
import { eventLine, headerLine } from '../../dashboard/recording.js'
import { argumentError } from '../../ground/errors.js'
import { systemReason } from '../failure.js'
import { isRecording } from './read.js'

/** So much waits for a slow disk. What comes then is left out. */
const MOST_WAITING_BYTES = 16 * 2 ** 20
/** How long nothing is written after a failure. */
const RETRY_MS = 10_000
/** A pipe that takes nothing is tried again after this time. */
const PIPE_MS = 20
/** How long the end of the server waits for a pipe that takes nothing. */
const END_MS = 2_000
/**
 * A write into a pipe that takes nothing would never end, and the process would not either. A
 * pipe is opened for reading too, because otherwise it could not be opened before its reader.
 */
const APPENDING = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK
/** The figures of VMs are for their owner. */
const MODE = 0o600

export interface RecordingOptions {
  /** The version of dirtyrate. */
  readonly version: string
  /** Says something to the user. */
  note(text: string): void
  readonly retryMs?: number
}

export class RecordingFile {
  #file: FileHandle
  readonly #name: string
  readonly #options: RecordingOptions
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #waitingEvents = 0
  /** Events that were left out, and that nobody was told of. */
  #missed = 0
  /** Events were left out behind the last line that waits, or that was written. */
  #isGap = false
  #failedAt: number | undefined
  /** The file may end within a line. */
  #isCut: boolean
  #writing: Promise<void> | undefined
  /** Whoever takes nothing from a pipe is waited for until this time. */
  #endsAt = Number.POSITIVE_INFINITY

  private constructor(file: FileHandle, name: string, options: RecordingOptions, isCut: boolean) {
    this.#file = file
    this.#name = name
    this.#options = options
    this.#isCut = isCut
  }

  /**
   * Opens a new file, or goes on with a recording. Rejects with ERR_ARGUMENT for any other file,
   * which stays as it is.
   */
  static async open(
    path: string,
    option: string,
    options: RecordingOptions,
  ): Promise<RecordingFile> {
    let file: FileHandle
    try {
      file = await open(path, APPENDING, MODE)
    } catch (error) {
      throw argumentError(
        `${option}: '${path}' cannot be written: ${systemReason(error as NodeJS.ErrnoException)}`,
        'Give a file that can be written.',
      )
    }
    try {
      const { size } = await file.stat()
      if (size > 0 && !(await isRecording(path))) {
        throw argumentError(
          `${option}: '${path}' is not a recording`,
          'Give a new file, or a recording, to which serve then appends.',
        )
      }
      const last = Buffer.from('\n')
      if (size > 0) await file.read(last, 0, 1, size - 1)
      const recording = new RecordingFile(file, path, options, last.toString() !== '\n')
      recording.#push(recording.#header)
      await recording.#writing
      return recording
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** Writes the event, or leaves it out if the disk does not take it. */
  add(event: DashboardEvent): void {
    const { retryMs = RETRY_MS } = this.#options
    const isFailing = this.#failedAt !== undefined && performance.now() - this.#failedAt < retryMs
    if (isFailing || this.#waitingBytes > MOST_WAITING_BYTES) {
      this.#missed++
      this.#isGap = true
      return
    }
    const line = eventLine(packEvent(event))
    this.#waitingEvents++
    // A header says where events are missing. Alone it might fit on a full disk.
    this.#push(this.#isGap ? `${this.#header}\n${line}` : line)
    this.#isGap = false
  }

  /** Writes what waits, and closes the file. */
  async close(): Promise<void> {
    this.#endsAt = performance.now() + END_MS
    await this.#writing
    await this.#file.close()
    if (this.#missed > 0)
      this.#options.note(`${this.#name}: ${this.#missed} events are missing at its end.`)
    this.#missed = 0
  }

  get #header(): string {
    return headerLine(this.#options.version, new Date())
  }

  #push(line: string): void {
    const bytes = Buffer.from(`${line}\n`)
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined
    })
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const lines = this.#waiting
      const events = this.#waitingEvents
      this.#waiting = []
      this.#waitingBytes = 0
      this.#waitingEvents = 0
      try {
        await this.#append(Buffer.concat(this.#isCut ? [Buffer.from('\n'), ...lines] : lines))
        this.#succeeded()
      } catch (error) {
        this.#failed(error as NodeJS.ErrnoException, events)
      }
    }
  }

  async #append(lines: Buffer): Promise<void> {
    const isNew = await this.#follow()
    const bytes = isNew ? Buffer.concat([Buffer.from(`${this.#header}\n`), lines]) : lines
    // Somebody else may have made the file shorter, as logrotate does.
    const { size } = await this.#file.stat()
    try {
      await this.#writeAll(bytes)
      this.#isCut = false
    } catch (error) {
      // A part of it may be in the file. A device has no length that could be changed.
      await this.#file.truncate(size).catch(() => {
        this.#isCut = true
      })
      throw error
    }
  }

  /** Goes on in a new file if somebody has moved the old one away, as logrotate does. */
  async #follow(): Promise<boolean> {
    const [own, named] = [await this.#file.stat(), await stat(this.#name).catch(() => undefined)]
    if (!own.isFile() || (named?.ino === own.ino && named.dev === own.dev)) return false
    // Another file that is there now stays as it is, and so does the old one without a new one.
    if (named !== undefined && !(named.isFile() && named.size === 0)) return false
    const file = await open(this.#name, APPENDING, MODE).catch(() => undefined)
    if (file === undefined) return false
    await this.#file.close()
    this.#file = file
    return true
  }

  async #writeAll(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      try {
        at += (await this.#file.write(bytes, at)).bytesWritten
      } catch (error) {
        const isFull = (error as NodeJS.ErrnoException).code === 'EAGAIN'
        if (!isFull || performance.now() > this.#endsAt) throw error
        await sleep(PIPE_MS)
      }
    }
  }

  #succeeded(): void {
    if (this.#missed > 0)
      this.#options.note(`${this.#name}: recording goes on. ${this.#missed} events are missing.`)
    this.#missed = 0
    this.#failedAt = undefined
  }

  #failed(error: NodeJS.ErrnoException, events: number): void {
    if (this.#failedAt === undefined) {
      this.#options.note(`${this.#name}: recording has stopped: ${systemReason(error)}`)
      this.#options.note('The server goes on measuring, and tries to write again.')
    }
    this.#missed += events
    this.#failedAt = performance.now()
    // What has come meanwhile stands behind the gap.
    if (this.#waiting.length > 0) this.#waiting.unshift(Buffer.from(`${this.#header}\n`))
    else this.#isGap = true
  }
}
