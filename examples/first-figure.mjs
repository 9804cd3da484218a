/**
 * The first figure. The example makes a virtual machine whose guest writes 100 MiB/s, measures it
 * for one second, and shows the guest's own count beside the figure.
 *
 *     $ node examples/first-figure.mjs
 *     dirty-bitmap: 100.0 MiB/s, 25609 pages in 1000 ms
 *     the guest counted 25601 to 25610 pages
 */

import { VirtualMachine, workload } from 'dirtyrate'

const vm = await VirtualMachine.create({ memory: '1GiB' })
try {
  await vm.load(workload.stride({ pages: 25600, rate: '100MiB/s' }))
  await vm.start()
  const { mode, bytesPerSecond, pages, window, truth } = await vm.measureDirtyRate({ window: '1s' })
  const rate = (bytesPerSecond / 2 ** 20).toFixed(1)
  console.log(`${mode}: ${rate} MiB/s, ${pages} pages in ${Math.round(window.ns / 1e6)} ms`)
  console.log(`the guest counted ${truth?.low} to ${truth?.high} pages`)
} finally {
  await vm.close()
}
