/** What every command has: where it writes, how it is interrupted, and how its failure is told. */

import { DirtyRateError } from '../errors.js'
import { DROPPED, type LogEvent, type LogLevel, logLevels, setLog } from '../log.js'
import { formatTrace } from '../qapi/trace.js'
import { EXIT_INTERRUPTED, EXIT_OK, exitStatus } from './exit.js'

/** The options that every command has. */
export interface GlobalOptions {
  json: boolean
  quiet: boolean
  logLevel: LogLevel
  /** QEMU's trace events. */
  trace: boolean
}

/** Of a terminal that does not know its own size. */
const DEFAULT_COLUMNS = 80

/** Colours for a terminal that wants them: https://no-color.org. */
const coloured = (stream: NodeJS.WriteStream): boolean => stream.isTTY === true && !process.env.NO_COLOR
const paint = (stream: NodeJS.WriteStream, sgr: number, text: string): string =>
  coloured(stream) ? `\x1b[${sgr}m${text}\x1b[0m` : text

export class Session {
  readonly options: GlobalOptions
  readonly #abort = new AbortController()
  /** Documents are one line each. */
  #lines = false
  #progress = false
  #listening = false
  /** Whether the last line may be written over. */
  #inPlace = false

  constructor(options: GlobalOptions) {
    this.options = options
  }

  /** Aborted by SIGINT. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** From here on there is a document per line: what is told of a failure too. */
  streamDocuments(): void {
    this.#lines = true
  }

  /** One line of the result. Nothing with --json. */
  print(line = ''): void {
    this.#clearProgress()
    this.#endInPlace()
    if (!this.options.json) process.stdout.write(`${line}\n`)
  }

  /** A line that explains. Nothing with --json or --quiet. */
  explain(line = ''): void {
    if (!this.options.quiet) this.print(line)
  }

  /** One line of the result; on a terminal in the place of the one before. */
  update(line: string): void {
    if (process.stdout.isTTY !== true || this.options.json) {
      this.print(line)
      return
    }
    this.#clearProgress()
    // Cut to the terminal's width: what is wrapped cannot be written over.
    process.stdout.write(`\r\x1b[K${line.slice(0, (process.stdout.columns || DEFAULT_COLUMNS) - 1)}`)
    this.#inPlace = true
  }

  /** The one document of --json, or one of many. */
  document(value: unknown): void {
    this.#clearProgress()
    if (this.options.json) process.stdout.write(document(value, this.#lines))
  }

  /** What it is busy with, on a terminal only, until the next line. */
  progress(text: string): void {
    if (this.options.quiet || process.stderr.isTTY !== true) return
    process.stderr.write(`\r\x1b[K${paint(process.stderr, 2, text)}`)
    this.#progress = true
  }

  bold(text: string): string {
    return paint(process.stdout, 1, text)
  }

  /** Good or bad news in its colour. */
  verdict(good: boolean, text: string): string {
    return paint(process.stdout, good ? 32 : 31, text)
  }

  /** Runs `command` to its exit status; whatever it throws is told in two lines, or as a document with --json. */
  async run(command: (session: Session) => Promise<number>): Promise<number> {
    const interrupt = (): void => {
      // The second one does not wait for the cleaning up.
      if (this.#abort.signal.aborted) process.exit(EXIT_INTERRUPTED)
      this.#abort.abort(
        new DirtyRateError('ERR_CANCELLED', 'interrupted', {
          hint: 'The measurement was cancelled and its VM closed.',
        }),
      )
    }
    process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
    try {
      this.#listen()
      return await command(this)
    } catch (error) {
      this.#clearProgress()
      this.#endInPlace()
      const status = reportFailure(error, this.options.json, this.#lines)
      return this.#abort.signal.aborted ? EXIT_INTERRUPTED : status
    } finally {
      this.#endInPlace()
      // What the core has told and nobody has been woken for yet.
      if (this.#listening) setLog('off', null)
      process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
    }
  }

  #listen(): void {
    const { logLevel, trace } = this.options
    if (logLevel === 'off' && !trace) return
    this.#listening = true
    setLog(trace ? 'trace' : logLevel, event => {
      const traced = trace ? formatTrace(event) : undefined
      const logged =
        logLevels.indexOf(event.level) <= logLevels.indexOf(logLevel) || (trace && event.message === DROPPED)
      if (traced === undefined && !logged) return
      this.#clearProgress()
      process.stderr.write(`${traced ?? logLine(event)}\n`)
    })
  }

  #endInPlace(): void {
    if (this.#inPlace) process.stdout.write('\n')
    this.#inPlace = false
  }

  #clearProgress(): void {
    if (this.#progress) process.stderr.write('\r\x1b[K')
    this.#progress = false
  }
}

function logLine({ level, target, message, fields }: LogEvent): string {
  const values = Object.entries(fields).map(([key, value]) => ` ${key}=${value}`)
  return `${level} ${target}: ${message}${values.join('')}`
}

function document(value: unknown, oneLine: boolean): string {
  return `${oneLine ? JSON.stringify(value) : JSON.stringify(value, null, 2)}\n`
}

/** Tells a failure and returns its exit status. */
export function reportFailure(error: unknown, json: boolean, oneLine = false): number {
  const {
    code = 'ERR_INTERNAL',
    message,
    hint = '',
  } = error as { code?: string; message?: string; hint?: string }
  const text = message ?? String(error)
  if (json) {
    process.stdout.write(document({ error: { code, message: text, hint } }, oneLine))
  } else {
    process.stderr.write(`dirtyrate: ${text}\n${hint === '' ? '' : `${hint}\n`}`)
  }
  return exitStatus(code)
}

/** A reader that goes away (`| head`) is no failure of ours, and nobody is left to be told. */
export function quietOnClosedPipe(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(process.exitCode ?? EXIT_OK)
      throw error
    })
  }
}
