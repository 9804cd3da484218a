/**
 * Dirty rings, which say which vCPU wrote how much. On a kernel without dirty rings the example
 * says so and ends with status 3, as the command does.
 *
 *     $ node examples/rings-by-vcpu.mjs
 *     vCPU 0: 50.1 MiB/s, 6415 pages from 12828 entries
 *     vCPU 1: 50.1 MiB/s, 6414 pages from 12826 entries
 *     together 12830 pages, of which both wrote 0
 */

import { isDirtyRateError, openTarget } from 'dirtyrate'

/** @type {import('dirtyrate').VirtualMachine} */
let target
try {
  target = await openTarget('guest:stride,vcpus=2,rate=100MiB/s', { mode: 'dirty-ring' })
} catch (error) {
  if (!isDirtyRateError(error, 'ERR_UNSUPPORTED')) throw error
  console.error(error.message)
  process.exit(3)
}
try {
  const { pages, vcpus, ring } = await target.measureDirtyRate({
    mode: 'dirty-ring',
    window: '500ms',
  })
  for (const { id, bytesPerSecond, pages, entries } of vcpus) {
    const rate = (bytesPerSecond / 2 ** 20).toFixed(1)
    console.log(`vCPU ${id}: ${rate} MiB/s, ${pages} pages from ${entries} entries`)
  }
  console.log(`together ${pages} pages, of which both wrote ${ring.sharedPages}`)
} finally {
  await target.close()
}
