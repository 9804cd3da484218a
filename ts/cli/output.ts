/**
 * Standard output and standard error. Texts are written whole and in their order, and an output
 * that fails says so.
 */

import { fstatSync, type Stats, writeSync } from 'node:fs'
import { isatty } from 'node:tty'

/**
 * How many bytes may wait for a reader that takes nothing. A log that goes on for ever is cut
 * there.
 */
const MOST_WAITING = 2 ** 24

/** The part of Node's handle of a terminal that this module uses; other runtimes may have none. */
interface TerminalHandle {
  fd?: number
  setBlocking?(blocking: boolean): void
}

export class Output {
  readonly stream: NodeJS.WriteStream
  /**
   * Whether the output is a pipe. The reader of a pipe may show on the same terminal what it reads.
   */
  readonly isPipe: boolean
  readonly #fd: number
  /**
   * Files and devices are written at once, because Node's own stream drops the rest of a write that
   * the kernel cut short.
   */
  readonly #atOnce: boolean
  #failure: NodeJS.ErrnoException | undefined
  #waiting = 0
  #dropped = 0
  #wake: (() => void)[] = []
  #onFailure: (() => void) | undefined

  constructor(stream: NodeJS.WriteStream, fd: number) {
    this.stream = stream
    this.#fd = fd
    const stat = statOf(fd)
    this.isPipe = stat?.isFIFO() === true || stat?.isSocket() === true
    this.#atOnce = !this.isPipe && !isatty(fd)
    stream.on('error', error => this.#fail(error))
    if (isatty(fd)) doNotBlock(stream, fd)
  }

  /** Why nothing can be written any more; undefined as long as writing is possible. */
  get failure(): NodeJS.ErrnoException | undefined {
    return this.#failure
  }

  /** Calls `listener` once when this output fails. */
  onFailure(listener: () => void): void {
    this.#onFailure = listener
  }

  write(text: string): void {
    if (this.#failure !== undefined || text === '') return
    if (!this.#atOnce) {
      this.#queue(text)
      return
    }
    try {
      writeWhole(this.#fd, text)
    } catch (error) {
      this.#fail(error as NodeJS.ErrnoException)
    }
  }

  /**
   * Writes a line that may be left out if the reader has taken nothing for long. The next line then
   * says how many lines were left out.
   */
  writeOptional(line: string): void {
    if (this.stream.writableLength > MOST_WAITING) {
      this.#dropped++
      return
    }
    if (this.#dropped > 0)
      this.write(`dirtyrate: ${this.#dropped} lines are missing here: nobody read them\n`)
    this.#dropped = 0
    this.write(line)
  }

  /** Resolves when everything is written, or when nothing can be written any more. */
  async flushed(): Promise<void> {
    while (this.#waiting > 0 && this.#failure === undefined) {
      await new Promise<void>(resolve => this.#wake.push(resolve))
    }
  }

  #queue(text: string): void {
    this.#waiting++
    this.stream.write(text, error => {
      this.#waiting--
      if (error) this.#fail(error)
      else if (this.#waiting === 0) this.#wakeAll()
    })
  }

  #fail(error: NodeJS.ErrnoException): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    this.#wakeAll()
    this.#onFailure?.()
  }

  #wakeAll(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
}

/**
 * Both outputs of this process. On one terminal they are the same object, so that their lines keep
 * their order.
 */
export function openOutputs(): { out: Output; err: Output } {
  const out = new Output(process.stdout, 1)
  return { out, err: onOneTerminal() ? out : new Output(process.stderr, 2) }
}

function onOneTerminal(): boolean {
  if (!isatty(1) || !isatty(2)) return false
  const [one, other] = [statOf(1), statOf(2)]
  return (
    one !== undefined && one.rdev === other?.rdev && one.ino === other.ino && one.dev === other.dev
  )
}

function statOf(fd: number): Stats | undefined {
  try {
    return fstatSync(fd)
  } catch {
    return undefined
  }
}

/**
 * Makes a terminal non-blocking, because a terminal that is stopped (Ctrl-S), or that nobody reads,
 * must not block this process too: it would react to no signal. This is done only if Node has
 * opened the terminal again for this process. A descriptor that other processes share is left as it
 * is.
 */
function doNotBlock(stream: NodeJS.WriteStream, fd: number): void {
  const handle = (stream as { _handle?: TerminalHandle })._handle
  if (typeof handle?.fd === 'number' && handle.fd !== fd) handle.setBlocking?.(false)
}

function writeWhole(fd: number, text: string): void {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
}
