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
