/**
 * A watch. The example measures one window after the other until a signal ends the watch. The
 * signal is a timeout here; Ctrl-C or a client that goes away would end it in the same way.
 * Afterwards the log is off, and the virtual machine can still be used.
 *
 *     $ node examples/watch.mjs
 *     round 1: 100.0 MiB/s
 *     round 2: 99.9 MiB/s
 *     round 3: 100.1 MiB/s
 *     a TimeoutError ended the watch, and the virtual machine is running
 */

import { VirtualMachine, workload } from 'dirtyrate'

const vm = await VirtualMachine.create({ memory: '1GiB' })
try {
  await vm.load(workload.stride({ pages: 25600, rate: '100MiB/s' }))
  await vm.start()
  const abort = new AbortController()
  let round = 0
  try {
    for await (const { bytesPerSecond } of vm.watchDirtyRate({
      every: '300ms',
      signal: abort.signal,
    })) {
      round += 1
      console.log(`round ${round}: ${(bytesPerSecond / 2 ** 20).toFixed(1)} MiB/s`)
      // In the middle of the next round.
      if (round === 3) setTimeout(() => abort.abort(new DOMException('', 'TimeoutError')), 100)
    }
  } catch (error) {
    if (error !== abort.signal.reason) throw error
    console.log(
      `a ${abort.signal.reason.name} ended the watch, and the virtual machine is ${vm.state}`,
    )
  }
} finally {
  await vm.close()
}
