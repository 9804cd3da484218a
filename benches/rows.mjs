// A target as a row, as the benchmarks in Rust print it.

export class Row {
  constructor(name, ours, reference, unit, ratio, bound, target) {
    const round = digits => value => Math.round(value * 10 ** digits) / 10 ** digits
    const [two, three] = [round(2), round(3)]
    this.name = name
    this.ours = three(ours)
    this.reference = three(reference)
    this.unit = unit
    this.ratio = two(ratio)
    this.target = target
    this.met = bound === 'at most' ? this.ratio <= target : this.ratio >= target
    // Not part of the document.
    Object.defineProperty(this, 'bound', { value: bound })
  }
}

/** A line for each: JSON, or for people. */
export function printRows(rows, json) {
  for (const row of rows) {
    const verdict = row.met ? 'met' : 'missed'
    console.log(
      json
        ? JSON.stringify(row)
        : `${row.ratio.toFixed(2).padStart(8)}, ${row.bound} ${row.target}: ${verdict.padEnd(6)}  ${row.name} (${row.ours}, ${row.reference} ${row.unit})`,
    )
  }
}
