// The CPU time of a window of one second of a `pid:` target over 64 GiB at 512 samples per GiB:
// all of this process's, Node.js included, without what the reads of the samples cost. A program in
// C does the same reads in the same run, and nothing else: it asks about each page, copies it, and
// adds up its bytes. Half a percent of one CPU is the target.
//
//   node benches/process-sampling.mjs [--quick] [--json]

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { openTarget } from 'dirtyrate'
import { printRows, Row } from './rows.mjs'

const ROUNDS = process.argv.includes('--quick') ? 5 : 21
const GIB = 64
const SAMPLES = GIB * 512
const WINDOW_MS = 1000
/** Half a percent of one CPU. */
const BUDGET_MS = WINDOW_MS * 0.005

const median = values => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

/** CPU time in ms: of a window, and of its reads alone. */
async function cost(program, kind) {
  const holder = spawn(program, ['hold', kind, String(GIB)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  try {
    const [range] = await once(createInterface({ input: holder.stdout }), 'line')
    const target = await openTarget(`pid:${holder.pid},range=${range}`)
    const [windows, reads] = [[], []]
    // The first one is not counted, because code is compiled and memory is taken in it.
    for (let round = 0; round <= ROUNDS; round++) {
      const before = process.cpuUsage()
      await target.measureDirtyRate({ window: WINDOW_MS, samplePages: 512 })
      const { user, system } = process.cpuUsage(before)
      const alone =
        kind === 'sparse'
          ? 0
          : Number(execFileSync(program, ['read', String(holder.pid), range, String(SAMPLES)]))
      if (round === 0) continue
      windows.push((user + system) / 1000)
      reads.push(alone / 1000)
    }
    await target.close()
    return { window: median(windows), reads: median(reads) }
  } finally {
    holder.stdin.end()
  }
}

const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-bench-'))
try {
  const program = join(folder, 'memory')
  execFileSync('cc', [
    '-O3',
    '-march=native',
    '-o',
    program,
    join(import.meta.dirname, 'process-memory.c'),
  ])
  const rows = []
  for (const [kind, what] of [
    ['sparse', 'nothing of it touched'],
    ['present', 'all of it in memory'],
  ]) {
    const { window, reads } = await cost(program, kind)
    const beside = window - reads
    const name = `CPU of a window of 1 s over ${GIB} GiB of a process, ${what}, beside its reads (${reads.toFixed(1)} ms), over 0.5 % of a CPU`
    rows.push(new Row(name, beside, BUDGET_MS, 'ms', beside / BUDGET_MS, 'at most', 1))
  }
  printRows(rows, process.argv.includes('--json'))
} finally {
  rmSync(folder, { recursive: true, force: true })
}
