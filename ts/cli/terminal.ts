/**
 * What a terminal can show: its width, colours, lines that are written over, characters beyond
 * ASCII.
 */

import { fstatSync, readFileSync } from 'node:fs'
import { isatty, WriteStream } from 'node:tty'
import { styleText } from 'node:util'
import { parseChoice } from '../ground/arguments.js'

/** The width of a terminal that does not know its own. */
const DEFAULT_COLUMNS = 80

/**
 * How many columns a line may have; undefined if there is no limit. `watch(1)` sets COLUMNS for its
 * programs.
 */
export function columnsOf(stream: NodeJS.WriteStream): number | undefined {
  if (stream.isTTY === true) return stream.columns || DEFAULT_COLUMNS
  const columns = Number(process.env.COLUMNS)
  return Number.isInteger(columns) && columns > 0 ? columns : undefined
}

type Style = 'bold' | 'dim' | 'green' | 'red' | 'yellow'

/**
 * `text` in a style, if Node finds that the output shows styles. NO_COLOR, FORCE_COLOR and TERM
 * influence this.
 */
export function paint(stream: NodeJS.WriteStream, style: Style, text: string): string {
  // In some runtimes styleText does not look at the stream.
  if (stream.isTTY !== true && process.env.FORCE_COLOR === undefined) return text
  return styleText(style, text, { stream })
}

/** How colours are shown, or characters in their place. */
export type ColorDepth = 'truecolor' | '256' | 'ascii'
/** What `--color` takes. */
export const colorDepths = ['auto', 'truecolor', '256', 'ascii'] as const

/** The choice of `--color`; undefined for `auto`. Throws ERR_ARGUMENT. */
export function parseColorDepth(text: string): ColorDepth | undefined {
  const wanted = parseChoice(text, '--color', colorDepths)
  return wanted === 'auto' ? undefined : wanted
}

/**
 * The colours that the output shows, by NO_COLOR, FORCE_COLOR, COLORTERM and TERM as Node reads
 * them. A terminal of 16 colours has no scale of them.
 */
export function colorDepthOf(stream: NodeJS.WriteStream): ColorDepth {
  if (stream.isTTY !== true && process.env.FORCE_COLOR === undefined) return 'ascii'
  const bits = WriteStream.prototype.getColorDepth.call(stream, process.env)
  return bits >= 24 ? 'truecolor' : bits >= 8 ? '256' : 'ascii'
}

/**
 * Whether a line can be written over. This is so on a terminal with a cursor, but not in the log of
 * a CI, and not in the background.
 */
export function canOverwrite(stream: NodeJS.WriteStream): boolean {
  const { TERM = 'dumb', CI = '' } = process.env
  return (
    stream.isTTY === true &&
    TERM !== 'dumb' &&
    TERM !== '' &&
    ['', '0', 'false'].includes(CI) &&
    !inBackground(stream)
  )
}

/**
 * Whether this process runs in the background of its shell. Then it could write over a line of the
 * shell.
 */
function inBackground(stream: NodeJS.WriteStream): boolean {
  const { fd } = stream as { fd?: number }
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1')
    // proc(5): after the name in parentheses come state, parent, process group, session, terminal,
    // the terminal's foreground group.
    const [, , group, , terminal, foreground] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number)
    // If the number is zero or less, this process has no terminal of its own, so there is no shell
    // whose line it could write over.
    return (
      fd !== undefined &&
      foreground !== undefined &&
      foreground > 0 &&
      fstatSync(fd).rdev === terminal &&
      foreground !== group
    )
  } catch {
    return false
  }
}

/**
 * Whether block characters can be shown, according to the locale. Linux's own console cannot show
 * them, because its font has few of them.
 */
export function showsBlocks(): boolean {
  const { LC_ALL, LC_CTYPE, LANG, TERM } = process.env
  return TERM !== 'linux' && /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || '')
}

/** The standard streams that were terminals when the process began. */
const TERMINALS = [0, 1, 2].filter(fd => isatty(fd))

/**
 * Lets the process end by SIGHUP if its terminal is gone at its end. Otherwise Node tries to
 * restore the settings of the terminal, fails, and aborts with a core dump.
 */
export function endWithTerminal(): void {
  process.on('exit', () => {
    if (TERMINALS.every(fd => isatty(fd))) return
    process.removeAllListeners('SIGHUP')
    process.kill(process.pid, 'SIGHUP')
  })
}
