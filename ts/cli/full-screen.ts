/**
 * The whole terminal for one command: its alternate screen, without a cursor, drawn anew at each
 * change and after each change of its size, and keys. What was there before comes back at the end,
 * however the command ends.
 */

import { writeSync } from 'node:fs'
import type { Output } from './output.js'

const ENTER = '\x1b[?1049h\x1b[?25l\x1b[2J'
const LEAVE = '\x1b[0m\x1b[?25h\x1b[?1049l'
/** Terminals that know this show a frame at once, and others ignore it. */
const [BEGIN_FRAME, END_FRAME] = ['\x1b[?2026h', '\x1b[?2026l']
const HOME = '\x1b[H'
const ERASE_LINE = '\x1b[K'
const ERASE_BELOW = '\x1b[J'
const DEFAULT_SIZE = { columns: 80, rows: 24 }

export interface Size {
  readonly columns: number
  readonly rows: number
}

/** The size of a terminal, which may say 0 if it does not know it. */
export function sizeOf({ columns, rows }: NodeJS.WriteStream): Size {
  return { columns: columns || DEFAULT_SIZE.columns, rows: rows || DEFAULT_SIZE.rows }
}

/** Draws the screen as it is now: lines that are not wider than the columns. */
export type Draw = (size: Size) => readonly string[]

/** Keys in the words of this module, or the character itself. */
const KEYS: Readonly<Record<string, string>> = {
  '\x1b[A': 'up',
  '\x1bOA': 'up',
  '\x1b[B': 'down',
  '\x1bOB': 'down',
  '\x1b[C': 'right',
  '\x1bOC': 'right',
  '\x1b[D': 'left',
  '\x1bOD': 'left',
}
// biome-ignore lint/suspicious/noControlCharactersInRegex: the sequences of keys begin so
const KEY = /\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Z])|[\s\S]/gu

export class FullScreen {
  readonly #output: Output
  readonly #draw: Draw
  readonly #onKey: (key: string) => void
  #isOpen = false
  readonly #redraw = (): void => this.draw()
  readonly #leave = (): void => {
    if (this.#isOpen) leaveAtOnce(this.#output)
  }
  readonly #typed = (data: Buffer | string): void => {
    for (const [sequence] of String(data).matchAll(KEY)) this.#press(sequence)
  }
  /** A terminal that is gone has no keys any more. SIGHUP tells it. */
  readonly #unreadable = (): void => {}
  readonly #stopped = (): void => {
    this.#give()
    process.once('SIGCONT', this.#continued)
    process.kill(process.pid, 'SIGSTOP')
  }
  readonly #continued = (): void => {
    if (!this.#isOpen) return
    this.#take()
    this.draw()
  }

  constructor(output: Output, draw: Draw, onKey: (key: string) => void) {
    this.#output = output
    this.#draw = draw
    this.#onKey = onKey
  }

  open(): void {
    this.#isOpen = true
    process.on('exit', this.#leave)
    process.on('SIGTSTP', this.#stopped)
    this.#output.stream.on('resize', this.#redraw)
    this.#take()
    this.draw()
  }

  /** Shows the screen as it is now. */
  draw(): void {
    if (!this.#isOpen) return
    const size = sizeOf(this.#output.stream)
    const lines = this.#draw(size).slice(0, size.rows)
    const frame = lines.map(line => `${line}${ERASE_LINE}`).join('\r\n')
    this.#output.write(`${BEGIN_FRAME}${HOME}${frame}${ERASE_BELOW}${END_FRAME}`)
  }

  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    process.off('exit', this.#leave)
    process.off('SIGTSTP', this.#stopped)
    process.off('SIGCONT', this.#continued)
    this.#output.stream.off('resize', this.#redraw)
    this.#give()
  }

  /** A pipe has no keys, and reading one would keep the process for as long as it is open. */
  #take(): void {
    const { stdin } = process
    if (stdin.isTTY) {
      stdin.on('error', this.#unreadable)
      stdin.setRawMode(true)
      stdin.on('data', this.#typed)
      stdin.resume()
    }
    this.#output.write(ENTER)
  }

  #give(): void {
    this.#output.write(LEAVE)
    const { stdin } = process
    if (!stdin.isTTY) return
    stdin.setRawMode(false)
    stdin.pause()
    stdin.off('data', this.#typed)
    stdin.off('error', this.#unreadable)
  }

  /** In raw mode the terminal makes no signals of keys. */
  #press(sequence: string): void {
    if (sequence === '\x03') process.kill(process.pid, 'SIGINT')
    else if (sequence === '\x1a') process.kill(process.pid, 'SIGTSTP')
    else this.#onKey(KEYS[sequence] ?? sequence)
  }
}

/** At the end of the process nothing is written later. */
function leaveAtOnce({ stream }: Output): void {
  try {
    writeSync((stream as { fd?: number }).fd ?? 1, LEAVE)
    if (process.stdin.isTTY) process.stdin.setRawMode(false)
  } catch {
    // The terminal is gone, or takes no more.
  }
}
