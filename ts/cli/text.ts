/** Figures as people read them. */

import truncatedWidth from 'fast-string-truncated-width'

/** `1234567` as `1,234,567`. */
export function count(value: number): string {
  return value.toLocaleString('en-US')
}

/** Nanoseconds as milliseconds, with one decimal from 100 ms on, and more below that. */
export function ms(ns: number): string {
  const value = ns / 1e6
  return `${value >= 100 ? value.toFixed(1) : value >= 1 ? value.toFixed(2) : value.toFixed(3)} ms`
}

/** Bytes in the largest binary unit, to one decimal, which is left out where it is 0. */
export function size(bytes: number): string {
  const { value, unit } = inLargestUnit(bytes)
  return `${Number(value.toFixed(1))} ${unit}`
}

/**
 * Bytes in the largest binary unit, always with one decimal, so that the figures of a column are
 * aligned.
 */
export function measuredSize(bytes: number): string {
  const { value, unit } = inLargestUnit(bytes)
  return `${value.toFixed(unit === 'B' ? 0 : 1)} ${unit}`
}

function inLargestUnit(bytes: number): { value: number; unit: string } {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return { value, unit: units[unit] ?? '' }
}

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

/**
 * `text` with control characters escaped, so that the name of a file neither ends a line nor moves
 * the cursor.
 */
export function visible(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, character => {
    const short = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }[character]
    return short ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`
  })
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

/** A word of characters that have no special meaning in any shell. */
const PLAIN_WORD = /^[A-Za-z0-9_@%+:,./-][A-Za-z0-9_@%+=:,./-]*$/

/** `text` as one word of a shell's command line. */
export function shellWord(text: string): string {
  if (PLAIN_WORD.test(text)) return text
  const shown = visible(text)
  // A word with control characters is written in the form that has escapes for them.
  if (shown !== text) return `$'${visible(text.replace(/[\\']/g, '\\$&'))}'`
  return `'${text.replaceAll("'", "'\\''")}'`
}
