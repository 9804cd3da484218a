/** Figures and names as people read them. It runs in a browser too. */

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

/** Control characters, and those that end a line or change the direction of a text. */
export const UNSHOWABLE: RegExp =
  /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu

/**
 * `text` with the characters of {@link UNSHOWABLE} escaped, so that the name of a file neither ends
 * a line nor moves the cursor nor turns the text after it round. The escapes are those of a shell:
 * there `\x9b` is a byte, which is no character of UTF-8.
 */
export function visible(text: string): string {
  return text.replaceAll(UNSHOWABLE, character => {
    const short = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }[character]
    const code = character.charCodeAt(0)
    const hex = (digits: number): string => code.toString(16).padStart(digits, '0')
    return short ?? (code < 0x80 ? `\\x${hex(2)}` : `\\u${hex(4)}`)
  })
}
