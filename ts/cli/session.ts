/**
 * The session of a command: where it writes, how it is interrupted, and how its failure is
 * reported.
 */

import type { LogLevel } from '../ground/log.js'
import { printEvents } from './event-lines.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import { failureDocument, failureLines, failureStatus, systemReason } from './failure.js'
import { type Draw, FullScreen, type Size, sizeOf } from './full-screen.js'
import { Interruption } from './interruption.js'
import { documentText } from './json.js'
import { LiveLine } from './live-line.js'
import type { Output } from './output.js'
import { named } from './table.js'
import { type ColorDepth, canOverwrite, colorDepthOf, columnsOf, paint } from './terminal.js'
import { shorten, visible, widthOf, wrap } from './text.js'

/** The options that every command has. */
export interface GlobalOptions {
  json: boolean
  quiet: boolean
  logLevel: LogLevel
  /** Whether QEMU's trace events are printed. */
  trace: boolean
}

/** What a command does. It resolves with the exit status. */
export type Action = (session: Session) => Promise<number>
/** Runs what a command does. */
export type Act = (action: Action) => Promise<void>

/** Sentences are not wider than this, however wide the terminal is. */
const WIDEST_PROSE = 120
/** The column in which values begin that come after their names. */
const VALUES_BEGIN = 9
/** Moves the cursor to the first column of the first row, and erases the rows from there on. */
const CLEAR_SCREEN = '\x1b[H\x1b[J'
/** How long the command waits, after a signal, for a reader to take the rest of the output. */
const LAST_WORDS_MS = 300

/** The reason for ending a command whose result nobody can read. */
const NO_OUTPUT = new Error('standard output takes no more')

export class Session {
  readonly options: GlobalOptions
  readonly #out: Output
  readonly #err: Output
  readonly #interruption: Interruption
  readonly #aborted: Promise<undefined>
  /** The line that says what the command is doing. */
  readonly #progress: LiveLine
  /** The last line of the result. */
  readonly #live: LiveLine
  /** Whether documents are one line each, and are written as soon as they exist. */
  #streams = false
  /** The one document, which is written when the command is over. */
  #document: string | undefined
  #listening: () => void = () => {}

  constructor(options: GlobalOptions, { out, err }: { out: Output; err: Output }) {
    this.options = options
    this.#out = out
    this.#err = err
    this.#progress = new LiveLine(err)
    this.#live = new LiveLine(out)
    this.#interruption = new Interruption(() => this.#live.end())
    this.#aborted = new Promise(resolve => {
      this.signal.addEventListener('abort', () => resolve(undefined), { once: true })
    })
    out.onFailure(() => this.#interruption.abort(NO_OUTPUT))
  }

  /** This is aborted by SIGINT, SIGTERM and SIGHUP, and when nobody can read the result. */
  get signal(): AbortSignal {
    return this.#interruption.signal
  }

  /** From now on SIGHUP calls `listener`, and does not end the command. */
  onHangup(listener: () => void): void {
    this.#interruption.onHangup(listener)
  }

  /** How many columns a line of the result may have; undefined if there is no limit. */
  get columns(): number | undefined {
    return columnsOf(this.#out.stream)
  }

  /** The colours of the result: those that were asked for, or those that the terminal has. */
  colorDepth(wanted: ColorDepth | undefined): ColorDepth {
    return wanted ?? colorDepthOf(this.#out.stream)
  }

  /** How large the terminal is. */
  get screenSize(): Size {
    return sizeOf(this.#out.stream)
  }

  /**
   * The whole terminal for this command until the screen is closed; undefined where lines cannot be
   * written over, and with --json.
   */
  fullScreen(draw: Draw, onKey: (key: string) => void): FullScreen | undefined {
    if (this.options.json || !canOverwrite(this.#out.stream)) return undefined
    this.#progress.clear()
    this.#live.end()
    const screen = new FullScreen(this.#out, draw, onKey)
    screen.open()
    return screen
  }

  /** From now on there is one document in each line, also for a failure. */
  streamDocuments(): void {
    this.#streams = true
  }

  /** One line of the result. Nothing with --json. */
  print(line = ''): void {
    this.#progress.clear()
    this.#live.end()
    if (!this.options.json) this.#out.write(`${line}\n`)
  }

  /** A part of the result as it is, with its own ends of lines. */
  write(text: string): void {
    this.#progress.clear()
    this.#live.end()
    this.#out.write(text)
  }

  /**
   * The most important figure, and the target that it belongs to, which goes into the next line if
   * the terminal is narrow.
   */
  headline(text: string, of: string): void {
    const shown = visible(of)
    const { columns = Number.POSITIVE_INFINITY } = this
    if (widthOf(text) + 2 + widthOf(shown) <= columns) {
      this.print(`${this.bold(text)}  ${shown}`)
      return
    }
    for (const line of wrap(text, columns)) this.print(this.bold(line))
    this.print(shown)
  }

  /** Sentences about what the command does, on standard error. Nothing with --quiet. */
  note(text: string): void {
    if (this.options.quiet) return
    this.#progress.clear()
    this.#live.end()
    const { stream } = this.#err
    const columns = Math.min(columnsOf(stream) ?? WIDEST_PROSE, WIDEST_PROSE)
    for (const line of wrap(visible(text), columns)) this.#err.write(`${line}\n`)
  }

  /** A value with its name before it, or above it if the terminal is narrow. */
  field(name: string, value: string, begin: number = VALUES_BEGIN): void {
    for (const line of named(name, visible(value), begin, this.columns)) this.print(line)
  }

  /** Sentences that explain, in as many lines as they need. Nothing with --json or --quiet. */
  explain(text = ''): void {
    if (this.options.quiet) return
    for (const line of wrap(text, this.#prose)) this.print(line)
  }

  /** A word, and what it means. Nothing with --json or --quiet. */
  define(word: string, meaning: string, begin: number): void {
    if (this.options.quiet) return
    for (const line of named(word, meaning, begin, this.#prose)) this.print(line)
  }

  /**
   * One line of the result, made for a number of columns. On a terminal it replaces the line
   * before, if it is short enough.
   */
  update(draw: (columns: number | undefined) => string): void {
    this.#progress.clear()
    if (this.options.json || this.#live.show(draw)) return
    this.print(draw(this.columns))
  }

  /**
   * The whole result as it is now. On a terminal it replaces the one before, as far as it fits the
   * terminal. Nothing with --json.
   */
  screen(draw: () => readonly string[]): void {
    if (this.options.json) return
    const { stream } = this.#out
    const lines = draw()
    if (!canOverwrite(stream)) {
      for (const line of [...lines, '']) this.print(line)
      return
    }
    // A terminal that does not know its height says 0.
    const rows = Math.max((stream.rows || lines.length + 1) - 1, 1)
    const fits = lines.length <= rows
    const shown = fits ? lines : lines.slice(0, rows - 1)
    const rest = fits ? [] : [`${lines.length - shown.length} more lines: make the terminal taller`]
    this.write(`${CLEAR_SCREEN}${[...shown, ...rest].join('\n')}\n`)
  }

  /** The one document of --json, or one of many. */
  document(value: object): void {
    if (!this.options.json) return
    const text = documentText(value, this.#streams)
    if (!this.#streams) {
      this.#document = text
      return
    }
    this.#progress.clear()
    this.#out.write(text)
  }

  /** Waits until the reader has taken all output, or until the command has to end. */
  async delivered(): Promise<void> {
    await Promise.race([this.#out.flushed(), this.#aborted])
  }

  /** Shows what the command is doing, until the next line, and only on a terminal. */
  progress(text: string): void {
    // If the output is a pipe, its reader, such as a pager, may use the whole terminal.
    if (this.options.quiet || (this.#out.isPipe && !this.options.json)) return
    const { stream } = this.#err
    this.#progress.show(columns => paint(stream, 'dim', shorten(visible(text), columns)))
  }

  bold(text: string): string {
    return paint(this.#out.stream, 'bold', text)
  }

  /** `text` in the colour of good, bad or doubtful news. */
  verdict(news: 'good' | 'bad' | 'doubtful', text: string): string {
    return paint(
      this.#out.stream,
      ({ good: 'green', bad: 'red', doubtful: 'yellow' } as const)[news],
      text,
    )
  }

  /**
   * Runs `command`, and resolves with its exit status. An error is reported in two lines, or as a
   * document with --json.
   */
  async run(command: Action): Promise<number> {
    let status: number
    try {
      this.#listening = printEvents(this.options, this.#err, {
        make: () => {
          this.#progress.hide()
          if (this.#err === this.#out) this.#live.hide()
        },
        fill: () => {
          if (this.#err === this.#out) this.#live.redraw()
          this.#progress.redraw()
        },
      })
      status = await command(this)
    } catch (error) {
      status = this.#report(error)
    } finally {
      this.#listening()
      this.#progress.clear()
      this.#live.end()
    }
    this.#out.write(this.#document ?? '')
    status = await this.#end(status)
    this.#interruption.stop()
    this.#progress.stop()
    this.#live.stop()
    return status
  }

  get #prose(): number {
    return Math.min(this.columns ?? WIDEST_PROSE, WIDEST_PROSE)
  }

  /** Says why the command failed, and returns the status for it. */
  #report(error: unknown): number {
    this.#progress.clear()
    this.#live.end()
    // Nobody can read why the command did not finish; #end() says why on standard error.
    if (error === NO_OUTPUT) return EXIT_OK
    // A failure after a result is reported on standard error, because it must not make a second
    // document.
    if (this.options.json && this.#document === undefined)
      this.#out.write(failureDocument(error, this.#streams))
    else this.#err.write(failureLines(error))
    return this.#interruption.status ?? failureStatus(error)
  }

  /**
   * Waits until everything is delivered, or cannot be delivered. Resolves with the final status.
   */
  async #end(status: number): Promise<number> {
    const delivered = this.#out.flushed().then(() => this.#complain(status))
    const all = delivered.then(final => this.#err.flushed().then(() => final))
    const final = await Promise.race([all, this.#aborted])
    if (final !== undefined) return final
    // A signal has come, so the command waits only a short time for a reader that has stopped
    // reading.
    const last = await Promise.race([all, after(LAST_WORDS_MS)])
    if (last !== undefined) return last
    process.exit(this.#interruption.status ?? this.#withOutput(status))
  }

  /**
   * A result that could not be written is a failure, unless its reader went away by itself, as
   * `head` does.
   */
  #complain(status: number): number {
    const { failure } = this.#out
    if (failure !== undefined && failure.code !== 'EPIPE')
      this.#err.write(`dirtyrate: standard output cannot be written to: ${systemReason(failure)}\n`)
    return this.#withOutput(status)
  }

  #withOutput(status: number): number {
    const { failure } = this.#out
    return failure !== undefined && failure.code !== 'EPIPE' && status === EXIT_OK
      ? EXIT_FAILED
      : status
  }
}

function after(ms: number): Promise<undefined> {
  return new Promise(resolve => setTimeout(resolve, ms, undefined).unref())
}
