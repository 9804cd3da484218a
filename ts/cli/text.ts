/** Figures as people read them. */

/** `1234567` as `1,234,567`. */
export function count(value: number): string {
  return value.toLocaleString('en-US')
}

/** ns as ms, to the precision that matters at its size. */
export function ms(ns: number): string {
  const value = ns / 1e6
  return `${value >= 100 ? value.toFixed(1) : value >= 1 ? value.toFixed(2) : value.toFixed(3)} ms`
}

export function mibPerSecond(bytesPerSecond: number): string {
  return `${(bytesPerSecond / 2 ** 20).toFixed(1)} MiB/s`
}

/** Bytes in the largest binary unit, to one decimal where it is not whole. */
export function size(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`
}

/** Cells under each other, figures to the right. */
export function row(cells: readonly string[], widths: readonly number[]): string {
  return cells
    .map((cell, i) => cell.padStart(widths[i] ?? 0))
    .join('  ')
    .trimEnd()
}
