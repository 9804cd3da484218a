// How much memory a call leaves behind, in a process of its own, so that no other benchmark's
// garbage is in the figure:
//
//   node --expose-gc --max-semi-space-size=1 benches/growth.mjs CALL      CALL is a name of `calls` in measured-vm.mjs
//
// Prints one JSON line: the bytes that each window of 10,000 calls added, for each call, and their
// median.
//
// Something that is kept of each call grows every window by as much. What grows once (a heap that
// is enlarged, code that is compiled, a thread's arena) is in one window or two: the median of the
// windows does not have it, whereas a slope through all readings does. V8's young generation, which
// grows with whatever the machine's load lets it, is kept at its least. Anonymous memory is what is
// read, because the kernel counts it page by page in smaps_rollup; the resident set in
// /proc/self/stat is an estimate that is off by some hundred pages, and has pages of files in it.

import { readFileSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { calls, measuredVm } from './measured-vm.mjs'

const CALLS = 10_000
/** Windows that do not count: the caches and what the compiler makes take their time to grow. */
const WARM_UP = 7
const WINDOWS = 7

async function anonymousBytes() {
  // What the first collection finalises, the second one frees; finalisers of the binding run from
  // the event loop.
  for (let i = 0; i < 3; i++) {
    gc()
    await setImmediate()
  }
  return (
    Number(readFileSync('/proc/self/smaps_rollup', 'utf8').match(/^Anonymous:\s+(\d+) kB/m)[1]) *
    1024
  )
}

const { call } = calls[process.argv[2]]
const vm = await measuredVm()
try {
  const windows = []
  let before
  for (let window = 0; window <= WARM_UP + WINDOWS; window++) {
    for (let i = 0; i < CALLS; i++) {
      const pending = call(vm.dirtyMemory)
      if (pending instanceof Promise) await pending
    }
    const now = await anonymousBytes()
    if (window > WARM_UP) windows.push((now - before) / CALLS)
    before = now
  }
  const median = [...windows].sort((a, b) => a - b)[windows.length >> 1]
  console.log(JSON.stringify({ median, windows }))
} finally {
  await vm.close()
}
