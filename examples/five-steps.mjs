/**
 * The five steps of a measurement, one call each. A program makes them itself if it wants the
 * pages, and not only their number: here the longest run of dirty pages, and how many parts of the
 * memory are dirty.
 *
 *     $ node examples/five-steps.mjs
 *     514 pages in 200 ms
 *     the longest run has 513 pages and begins at page 620
 *     2 of 512 regions of 2 MiB are dirty
 */

import { VirtualMachine, workload } from 'dirtyrate'

const vm = await VirtualMachine.create({ memory: '1GiB' })
try {
  await vm.load(workload.stride({ pages: 25600, rate: '10MiB/s' }))
  await vm.start()
  const { dirtyMemory } = vm
  await dirtyMemory.startTracking('dirty-rate') // 1. Turn the log on.
  await dirtyMemory.discardInitialLog() // 2. Drop what a new log begins with, which are no writes.
  await dirtyMemory.clear('dirty-rate') // 3. Open the window.
  await dirtyMemory.syncAt('dirty-rate', ['200ms']) // 4. Fetch the log at the deadline.
  const { pages, windowNs } = await dirtyMemory.reap('dirty-rate') // 5. Count the pages.
  console.log(`${pages} pages in ${Math.round(windowNs / 1e6)} ms`)

  const numbers = await dirtyMemory.ranges('dirty-rate', 'ram') // First page, number of pages, first page, …
  const runs = Array.from({ length: numbers.length / 2 }, (_, at) =>
    numbers.subarray(2 * at, 2 * at + 2),
  )
  const [longest = []] = runs.sort(([, a = 0], [, b = 0]) => b - a)
  console.log(`the longest run has ${longest[1]} pages and begins at page ${longest[0]}`)

  const heat = new Uint32Array(512)
  await dirtyMemory.heat('dirty-rate', 'ram', heat)
  console.log(
    `${heat.filter(count => count > 0).length} of ${heat.length} regions of 2 MiB are dirty`,
  )
  await dirtyMemory.stopTracking('dirty-rate') // The last client that stops turns the log off.
} finally {
  await vm.close()
}
