// A target as a row, as the benchmarks in Rust print it.

const round = digits => value => Math.round(value * 10 ** digits) / 10 ** digits
const [two, three] = [round(2), round(3)]

export class Row {
  /** Without a `target` the row is stated for comparison, and is neither met nor missed. */
  constructor(name, ours, reference, unit, ratio, bound, target) {
    this.name = name
    this.ours = three(ours)
    this.reference = three(reference)
    this.unit = unit
    this.ratio = two(ratio)
    this.target = target ?? null
    this.met =
      this.target === null
        ? null
        : bound === 'at most'
          ? this.ratio <= this.target
          : this.ratio >= this.target
    // Not part of the document.
    Object.defineProperty(this, 'bound', { value: bound })
  }
}

/** A line for each row: JSON, or for people. */
export function printRows(rows, json) {
  for (const row of rows) {
    const verdict =
      row.met === null ? 'no target' : `${row.bound} ${row.target}: ${row.met ? 'met' : 'missed'}`
    console.log(
      json
        ? JSON.stringify(row)
        : `${row.ratio.toFixed(2).padStart(8)}, ${verdict.padEnd(20)}  ${row.name} (${row.ours}, ${row.reference} ${row.unit})`,
    )
  }
}
