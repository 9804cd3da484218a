/** What the terminal behind an output can show: its width, colours, lines that are written over, characters beyond ASCII. */

import { fstatSync, readFileSync } from 'node:fs'
import { isatty } from 'node:tty'
import { styleText } from 'node:util'

/** The width of a terminal that does not know its own. */
const DEFAULT_COLUMNS = 80

/** The columns that a line may have; undefined where nothing limits them. `watch(1)` sets COLUMNS for its programs. */
export function columnsOf(stream: NodeJS.WriteStream): number | undefined {
  if (stream.isTTY === true) return stream.columns || DEFAULT_COLUMNS
  const columns = Number(process.env.COLUMNS)
  return Number.isInteger(columns) && columns > 0 ? columns : undefined
}

type Style = 'bold' | 'dim' | 'green' | 'red' | 'yellow'

/** `text` in a style, where Node finds that the output shows styles: NO_COLOR, FORCE_COLOR and TERM have a say. */
export function paint(stream: NodeJS.WriteStream, style: Style, text: string): string {
  // Not every runtime's styleText looks at the stream.
  if (stream.isTTY !== true && process.env.FORCE_COLOR === undefined) return text
  return styleText(style, text, { stream })
}

/** Whether a line can be written over: on a terminal with a cursor, outside of a CI's log, and not from the background. */
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

/** Whether the terminal belongs to another job of its shell: a line that is written over would be the shell's own. */
function inBackground(stream: NodeJS.WriteStream): boolean {
  const { fd } = stream as { fd?: number }
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1')
    // proc(5): after the name in parentheses come state, parent, process group, session, terminal, the terminal's foreground group.
    const [, , group, , terminal, foreground] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number)
    // Zero and less: no terminal is this process's own, so that no shell waits behind it.
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

/** Whether block characters can be shown: by the locale, and not on Linux's own console, whose font has few of them. */
export function showsBlocks(): boolean {
  const { LC_ALL, LC_CTYPE, LANG, TERM } = process.env
  return TERM !== 'linux' && /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || '')
}

/** The standard streams that were terminals when the process began. */
const TERMINALS = [0, 1, 2].filter(fd => isatty(fd))

/**
 * Lets the process end by SIGHUP if its terminal is gone when it ends. Node gives each terminal its settings back at the end, and aborts,
 * with a dump of its memory, where that fails.
 */
export function endWithTerminal(): void {
  process.on('exit', () => {
    if (TERMINALS.every(fd => isatty(fd))) return
    process.removeAllListeners('SIGHUP')
    process.kill(process.pid, 'SIGHUP')
  })
}
