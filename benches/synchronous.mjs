// Measures for how long each call of the API blocks the event loop, on a VM with 1 TiB and on a VM
// with 64 GiB and 8 rings. The memory of both is sparse:
//
//   node benches/synchronous.mjs [--json] [--calls 1000]
//
// For a method that returns a promise this measures the time until it has returned, and the longest
// turn of the event loop until the promise is settled, which is the time that its result costs the
// JavaScript thread. Both are measured with and without syncs and clears under way on other
// threads, because no call may wait for a lock that one of these has. Times in which the kernel
// took the CPU away are left out, so that a busy machine gives the same figures; waits for a lock
// are not left out.

import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { buildGuest, capabilities, setLog, VirtualMachine, workload } from '../dist/index.js'

const { values } = parseArgs({
  options: { json: { type: 'boolean' }, calls: { type: 'string', default: '1000' } },
})
const CALLS = Number(values.calls)
/** A method that takes a while is called less often. */
const SLOW_CALLS = 20
const GIB = 2 ** 30
const us = ms => ms * 1000

const median = sorted => sorted[sorted.length >> 1] ?? Number.NaN

/** How often the kernel has taken the CPU away from this thread. */
function preemptions() {
  const status = readFileSync('/proc/thread-self/status', 'latin1')
  return Number(/nonvoluntary_ctxt_switches:\s+(\d+)/.exec(status)?.[1])
}

/** The longest turn of the event loop while `pending` is. */
async function longestTurn(pending) {
  let settled = false
  const done = Promise.resolve(pending).then(
    () => (settled = true),
    () => (settled = true),
  )
  let longest = 0
  while (!settled) {
    const before = preemptions()
    const began = performance.now()
    await new Promise(setImmediate)
    const took = performance.now() - began
    if (preemptions() === before) longest = Math.max(longest, took)
  }
  await done
  return longest
}

async function measure(name, call, calls) {
  const returned = []
  const turns = []
  for (let i = 0; i < calls; i++) {
    const before = preemptions()
    const began = performance.now()
    const result = call()
    const took = performance.now() - began
    if (preemptions() === before) returned.push(took)
    if (typeof result?.then === 'function') turns.push(await longestTurn(result))
  }
  const [sorted, sortedTurns] = [returned, turns].map(times => times.sort((a, b) => a - b))
  return {
    name,
    medianUs: us(median(sorted)),
    maxUs: us(sorted.at(-1)),
    ...(turns.length === 0
      ? {}
      : { turnMedianUs: us(median(sortedTurns)), turnMaxUs: us(sortedTurns.at(-1)) }),
  }
}

/** Every synchronous method and getter of a VM, and the promises whose work could be large. */
function entriesOf(vm, bytes) {
  const { dirtyMemory, workload: guest } = vm
  const instant = guest.instant()
  const words = new BigUint64Array(vm.blocks.at(-1).bytes / capabilities().pageSize / 64)
  const heat = new Uint32Array(vm.blocks.at(-1).bytes / 2 ** 21)
  const { name, guestAddress } = vm.blocks.at(-1)
  return {
    quick: {
      'vm.uri': () => vm.uri,
      'vm.state': () => vm.state,
      'vm.crash': () => vm.crash,
      'vm.vcpus': () => vm.vcpus,
      'vm.history': () => vm.history,
      'vm.manualProtect': () => vm.manualProtect,
      'vm.dirtyLog': () => vm.dirtyLog,
      'vm.blocks': () => vm.blocks,
      'vm.on()': () => vm.on('done', () => {})(),
      'vm.watchDirtyRate()': () => void vm.watchDirtyRate({ every: '1s' }),
      'isTracking()': () => dirtyMemory.isTracking('dirty-rate'),
      'loggingBlocks()': () => dirtyMemory.loggingBlocks(),
      'workload.grant()': () => guest.grant(1),
      'workload.instant()': () => guest.instant(),
      'capabilities()': () => capabilities(),
      'setLog()': () => setLog('off', null),
    },
    slow: {
      'buildGuest()': () =>
        void buildGuest(workload.random({ pages: 25_600 }), { memory: '1TiB', vcpus: 8 }),
      'reap()': () => dirtyMemory.reap('dirty-rate'),
      'take()': () => dirtyMemory.take('dirty-rate'),
      'clear()': () => dirtyMemory.clear('dirty-rate'),
      'sync()': () => dirtyMemory.sync(),
      'readBitmap()': () => dirtyMemory.readBitmap('dirty-rate', name, words),
      'ranges()': () => dirtyMemory.ranges('dirty-rate', name),
      'heat()': () => dirtyMemory.heat('dirty-rate', name, heat),
      'workload.truth()': () => guest.truth(instant, guest.instant()),
      'measureDirtyRate()': () => vm.measureDirtyRate({ window: 20 }),
      'readMemory(64 MiB)': () => vm.readMemory(guestAddress, bytes),
      'writeMemory(64 MiB)': () => vm.writeMemory(guestAddress, bytes),
      'describe()': () => vm.describe(),
    },
  }
}

const machines = {
  '1 TiB, bitmap': { memory: '1TiB', vcpus: 1 },
  '64 GiB, 8 rings': { memory: '64GiB', vcpus: 8, dirtyLog: { ringEntries: 65_536 } },
}

const rows = []
for (const [machine, options] of Object.entries(machines)) {
  const vm = await VirtualMachine.create(options)
  try {
    await vm.load(workload.stride({ pages: 25_600, granted: true }))
    await vm.start()
    const { dirtyMemory } = vm
    await dirtyMemory.startTracking('dirty-rate')
    await dirtyMemory.startTracking('migration')
    await dirtyMemory.discardInitialLog()
    await dirtyMemory.clear('dirty-rate')
    const { quick, slow } = entriesOf(vm, new Uint8Array(GIB / 16))
    for (const beside of [false, true]) {
      const machineAndLoad = `${machine}${beside ? ', beside syncs and clears' : ''}`
      let ended = !beside
      const load = (async () => {
        while (!ended) {
          await dirtyMemory.sync()
          await dirtyMemory.clear('migration')
        }
      })()
      for (const [name, call] of Object.entries(quick)) {
        const calls = []
        // In parts, so that the load's own calls have their turns.
        for (let part = 0; part < 10; part++) {
          calls.push(await measure(name, call, CALLS / 10))
          await new Promise(resolve => setTimeout(resolve, 1))
        }
        const medians = calls.map(({ medianUs }) => medianUs).sort((a, b) => a - b)
        const maxUs = Math.max(...calls.map(of => of.maxUs))
        rows.push({ machine: machineAndLoad, name, medianUs: median(medians), maxUs })
      }
      if (!beside) {
        for (const [name, call] of Object.entries(slow)) {
          const calls = /Memory|measure/.test(name) ? 3 : SLOW_CALLS
          rows.push({ machine: machineAndLoad, ...(await measure(name, call, calls)) })
        }
      }
      ended = true
      await load
    }
  } finally {
    await vm.close()
  }
}

if (values.json) console.log(JSON.stringify(rows, undefined, 2))
else {
  const cell = value => (value === undefined ? '' : value.toFixed(1)).padStart(10)
  console.log(
    'µs: until it returned, median and maximum; longest turn of the event loop, median and maximum',
  )
  let last
  for (const { machine, name, medianUs, maxUs, turnMedianUs, turnMaxUs } of rows) {
    if (machine !== last) console.log(`\n${machine}`)
    last = machine
    console.log(
      `  ${name.padEnd(22)}${[medianUs, maxUs, turnMedianUs, turnMaxUs].map(cell).join('')}`,
    )
  }
}
