/** What every command has: where it writes, how it is interrupted, and how its failure is told. */

import { DirtyRateError } from '../errors.js'
import { type LogLevel, setLog } from '../log.js'
import { EXIT_INTERRUPTED, EXIT_OK, exitStatus } from './exit.js'

/** The options that every command has. */
export interface GlobalOptions {
  json: boolean
  quiet: boolean
  logLevel: LogLevel
}

/** Colours for a terminal that wants them: https://no-color.org. */
const coloured = (stream: NodeJS.WriteStream): boolean => stream.isTTY === true && !process.env.NO_COLOR
const paint = (stream: NodeJS.WriteStream, sgr: number, text: string): string =>
  coloured(stream) ? `\x1b[${sgr}m${text}\x1b[0m` : text

export class Session {
  readonly options: GlobalOptions
  readonly #abort = new AbortController()
  #progress = false

  constructor(options: GlobalOptions) {
    this.options = options
  }

  /** Aborted by SIGINT. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** One line of the result. Nothing with --json. */
  print(line = ''): void {
    this.#clearProgress()
    if (!this.options.json) process.stdout.write(`${line}\n`)
  }

  /** A line that explains. Nothing with --json or --quiet. */
  explain(line = ''): void {
    if (!this.options.quiet) this.print(line)
  }

  /** The one document of --json. */
  document(value: unknown): void {
    this.#clearProgress()
    if (this.options.json) process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
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
      const status = reportFailure(error, this.options.json)
      return this.#abort.signal.aborted ? EXIT_INTERRUPTED : status
    } finally {
      process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
    }
  }

  #listen(): void {
    const { logLevel } = this.options
    if (logLevel === 'off') return
    setLog(logLevel, ({ level, target, message, fields }) => {
      this.#clearProgress()
      const values = Object.entries(fields).map(([key, value]) => ` ${key}=${value}`)
      process.stderr.write(`${level} ${target}: ${message}${values.join('')}\n`)
    })
  }

  #clearProgress(): void {
    if (this.#progress) process.stderr.write('\r\x1b[K')
    this.#progress = false
  }
}

/** Tells a failure and returns its exit status. */
export function reportFailure(error: unknown, json: boolean): number {
  const {
    code = 'ERR_INTERNAL',
    message,
    hint = '',
  } = error as { code?: string; message?: string; hint?: string }
  const text = message ?? String(error)
  if (json) {
    process.stdout.write(`${JSON.stringify({ error: { code, message: text, hint } }, null, 2)}\n`)
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
