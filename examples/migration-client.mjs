/**
 * A client of your own. The example copies the memory of a running guest as a live migration does,
 * with the client 'migration'. Each round takes the pages that were written since the round before.
 * At the end the guest is paused, so that the last round is complete.
 *
 *     $ node examples/migration-client.mjs
 *     round 1: 16384 pages copied
 *     round 2: 5002 pages copied
 *     round 3: 2455 pages copied
 *     paused: 925 pages copied
 *     the copy is the guest's memory: true
 */

import { VirtualMachine, workload } from 'dirtyrate'

const vm = await VirtualMachine.create({ memory: '64MiB' })
const copy = new Uint8Array(64 * 2 ** 20)

/** Takes the pages that are dirty for the migration, and copies them. Returns their number. */
async function copyDirtyPages() {
  await vm.dirtyMemory.sync()
  const words = new BigUint64Array(copy.length / vm.pageSize / 64) // One bit for each page.
  await vm.dirtyMemory.readBitmap('migration', 'ram', words, { take: true })
  const pages = Array.from({ length: words.length * 64 }, (_, page) => page)
  const dirty = pages.filter(page => ((words[page >> 6] ?? 0n) >> BigInt(page & 63)) & 1n)
  for (const address of dirty.map(page => page * vm.pageSize)) {
    await vm.readMemory(address, copy.subarray(address, address + vm.pageSize))
  }
  return `${dirty.length} pages copied`
}

try {
  await vm.load(workload.stride({ pages: 5000, rate: '10MiB/s' }))
  await vm.start()
  await vm.dirtyMemory.startTracking('migration') // A migration begins with every page.
  for (const round of [1, 2, 3]) console.log(`round ${round}: ${await copyDirtyPages()}`)
  await vm.pause()
  console.log(`paused: ${await copyDirtyPages()}`)
  const memory = new Uint8Array(copy.length)
  await vm.readMemory(0, memory)
  console.log(`the copy is the guest's memory: ${Buffer.compare(copy, memory) === 0}`)
} finally {
  await vm.close()
}
