// A VM with 1000 dirty pages, and the calls that are measured on it.

import { VirtualMachine, workload } from 'dirtyrate'

/**
 * Each call, made on the facade and on the binding's own object, with the ns that its Rust side
 * says it took, and how many µs JavaScript may add. A call that does not say what it took is taken
 * as nothing in the core.
 */
export const calls = {
  reap: {
    name: 'reap (asynchronous)',
    targetUs: 100,
    call: dirtyMemory => dirtyMemory.reap('dirty-rate'),
    direct: binding => binding.reap('dirty-rate'),
    rustNs: ({ reapNs }) => reapNs,
  },
  sync: {
    name: 'sync (asynchronous)',
    targetUs: 100,
    call: dirtyMemory => dirtyMemory.sync(),
    direct: binding => binding.sync(undefined),
    rustNs: ({ ns }) => ns,
  },
  isTracking: {
    name: 'isTracking (synchronous)',
    targetUs: 20,
    call: dirtyMemory => dirtyMemory.isTracking('dirty-rate'),
    direct: binding => binding.isTracking('dirty-rate'),
    rustNs: () => 0,
  },
}

export async function measuredVm() {
  const vm = await VirtualMachine.create({ memory: '1GiB' })
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
    return vm
  } catch (error) {
    await vm.close()
    throw error
  }
}
