/** Text on a terminal. */

import truncatedWidth from 'fast-string-truncated-width'
import { UNSHOWABLE, visible } from '../ground/readable.js'

export { count, measuredSize, ms, size, visible } from '../ground/readable.js'

/**
 * A bar of `fraction` of `width`. It is exact to an eighth of a character if block characters can
 * be shown, and is made of `#` otherwise.
 */
export function bar(fraction: number, width: number, blocks: boolean): string {
  const part = Math.min(Math.max(fraction, 0), 1) * width
  if (!blocks) return '#'.repeat(Math.round(part))
  const eighths = Math.round(part * 8)
  return '█'.repeat(Math.floor(eighths / 8)) + (' ▏▎▍▌▋▊▉'[eighths % 8] ?? '').trim()
}

/** The columns that `text` takes on a terminal. */
export function widthOf(text: string): number {
  return truncatedWidth(text).width
}

/** `text` with as many spaces behind it as it needs to take `columns` on a terminal. */
export function padTo(text: string, columns: number): string {
  return `${text}${' '.repeat(Math.max(0, columns - widthOf(text)))}`
}

/**
 * `text` in lines of at most `columns`, broken between words; a longer word has a line for itself.
 */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && widthOf(line) + 1 + widthOf(word) > columns) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, line]
}

/** As much of `text` as fits `columns`, cut between words so that no figure is cut in two. */
export function shorten(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text
  const words = text.split(' ')
  for (let kept = words.length - 1; kept > 0; kept--) {
    const line = `${words.slice(0, kept).join(' ')} ...`
    if (widthOf(line) <= columns) return line
  }
  return '...'
}

/** As much of `text` as fits `columns`, for lines that are cut as a picture is. */
export function clip(text: string, columns: number): string {
  return text.slice(0, truncatedWidth(text, { limit: columns, ellipsis: '' }).index)
}

/** A word of characters that have no special meaning in any shell. */
const PLAIN_WORD = /^[A-Za-z0-9_@%+:,./-][A-Za-z0-9_@%+=:,./-]*$/

/** `text` as one word of a shell's command line. */
export function shellWord(text: string): string {
  if (PLAIN_WORD.test(text)) return text
  const shown = visible(text)
  // A word with control characters is written in the form that has escapes for them.
  if (shown !== text) return `$'${escaped(text.replace(/[\\']/g, '\\$&'))}'`
  return `'${text.replaceAll("'", "'\\''")}'`
}

/** The bytes of what cannot be shown, because a shell reads `\\x` with two digits as one byte. */
function escaped(text: string): string {
  return text.replaceAll(UNSHOWABLE, character =>
    [...Buffer.from(character)].map(byte => `\\x${byte.toString(16).padStart(2, '0')}`).join(''),
  )
}
