// Measures what a VM with dirty rings costs while nobody measures it: how often the VM's threads
// wake up in a second.
//
//   node benches/idle.mjs [--json]
//
// The guest halts at once, so that its vCPUs have no reason to wake either. A thread that has slept
// and goes on counts one voluntary context switch more in /proc/self/task/*/status.

import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { VirtualMachine, workload } from 'dirtyrate'
import { printRows, Row } from './rows.mjs'

const SECONDS = 3
const VCPUS = 4

const tasks = () => readdirSync('/proc/self/task')

/** A thread's name, and how often it has slept; nothing of a thread that has ended. */
function status(task) {
  try {
    const text = readFileSync(`/proc/self/task/${task}/status`, 'utf8')
    return {
      name: text.match(/^Name:\s+(.+)$/m)[1],
      sleeps: Number(text.match(/^voluntary_ctxt_switches:\s+(\d+)$/m)[1]),
    }
  } catch {
    return undefined
  }
}

/**
 * The threads that a VM made, by their number: name and sleeps. Node makes some of its own whenever
 * it likes.
 */
function ofVm(before) {
  const ours = new Map()
  for (const task of tasks().filter(task => !before.has(task))) {
    const found = status(task)
    if (found && !/^(node|libuv|MainThread|V8|DelayedTask|SignalInspector)/.test(found.name))
      ours.set(task, found)
  }
  return ours
}

/** Wake-ups a second of the VM's threads, by their names. */
async function wakeups(measuredBefore) {
  const before = new Set(tasks())
  const vm = await VirtualMachine.create({
    memory: '1GiB',
    vcpus: VCPUS,
    dirtyLog: { ringEntries: 65_536 },
  })
  try {
    await vm.load(workload.idle())
    await vm.start()
    if (measuredBefore) await vm.measureDirtyRate({ window: '100ms' })
    // Let the guest come to its halt.
    await setTimeout(1000)
    const from = ofVm(before)
    await setTimeout(SECONDS * 1000)
    const to = ofVm(before)
    return [...to].map(([task, { name, sleeps }]) => ({
      name,
      rate: (sleeps - (from.get(task)?.sleeps ?? 0)) / SECONDS,
    }))
  } finally {
    await vm.close()
  }
}

const json = process.argv.includes('--json')
const rows = []
for (const [what, measuredBefore] of [
  ['that nobody has measured', false],
  ['that nobody measures any more', true],
]) {
  const threads = await wakeups(measuredBefore)
  const total = threads.reduce((sum, { rate }) => sum + rate, 0)
  const shown =
    threads.map(({ name, rate }) => `${name} ${rate.toFixed(1)}`).join(', ') || 'no thread'
  const name = `a ring VM of ${VCPUS} idle vCPUs ${what}: wake-ups of its threads a second (${shown})`
  rows.push(new Row(name, total, 0, 'a second', total, 'at most', 0))
}
printRows(rows, json)
