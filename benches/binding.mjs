// What a call costs on its way from JavaScript to the core and back, and whether anything stays behind:
//
//   node --expose-gc benches/binding.mjs [--json]
//
// Every call reports what its Rust side took; the rest is the binding's and the facade's. Medians of 10,000 calls.

import { VirtualMachine, workload } from 'dirtyrate'
import { printRows, Row } from './rows.mjs'

const CALLS = 10_000
/** How often RSS is read meanwhile. */
const SAMPLES = 20

const median = values => values.sort()[values.length >> 1]
const us = ns => ns / 1000

/** The medians of what a call and its Rust side take, in ns, and of the difference; and by how many bytes RSS grows with a call. */
async function overhead(call, rustNs) {
  const [all, inside, rest] = [1, 2, 3].map(() => new Float64Array(CALLS))
  const held = []
  for (let i = 0; i < CALLS; i++) {
    if (i % (CALLS / SAMPLES) === 0) held.push(rss())
    const began = process.hrtime.bigint()
    // A call that is synchronous must not wait for the event loop.
    const pending = call()
    const result = pending instanceof Promise ? await pending : pending
    const took = Number(process.hrtime.bigint() - began)
    all[i] = took
    inside[i] = rustNs(result)
    rest[i] = took - rustNs(result)
  }
  held.push(rss())
  return { ours: median(all), reference: median(inside), rest: median(rest), growth: growth(held) }
}

/** The median of the slopes between every two samples (Theil and Sen): a collection that one of them came into does not count. */
function growth(held) {
  const slopes = held.flatMap((from, at) =>
    held.slice(at + 1).map((to, after) => (to - from) / ((after + 1) * (CALLS / SAMPLES))),
  )
  return median(Float64Array.from(slopes))
}

function rss() {
  // Twice: what the first one finalises, the second one frees.
  for (let i = 0; i < 2; i++) gc()
  return process.memoryUsage.rss()
}

const vm = await VirtualMachine.create({ memory: '1GiB' })
const rows = []
try {
  const { dirtyMemory } = vm
  await vm.load(workload.stride({ pages: 1000, granted: true }))
  await vm.start()
  await dirtyMemory.startTracking('dirty-rate')
  await dirtyMemory.discardInitialLog()
  await dirtyMemory.clear('dirty-rate')
  vm.workload.grant(1000)
  await vm.workload.settled()
  await dirtyMemory.sync()

  const calls = [
    ['reap (synchronous)', 20, () => dirtyMemory.reap('dirty-rate'), ({ reapNs }) => reapNs],
    ['sync (asynchronous)', 100, () => dirtyMemory.sync(), ({ ns }) => ns],
  ]
  for (const [name, target, call, rustNs] of calls) {
    // Once for the caches and the compiler.
    await overhead(call, rustNs)
    const { ours, reference, rest, growth } = await overhead(call, rustNs)
    rows.push(
      new Row(`${name}: JavaScript over Rust`, us(ours), us(reference), 'µs', us(rest), 'at most', target),
      // What is kept of a call would be some bytes at the least; a page now and then is the allocator's.
      new Row(`${name}: growth of RSS by a call, of 10,000`, growth, 0, 'bytes', growth, 'at most', 8),
    )
  }
} finally {
  await vm.close()
}
printRows(rows, process.argv.includes('--json'))
