// Measures what a call from JavaScript to the core and back costs, in which part, and whether the
// call leaves memory behind:
//
//   node --expose-gc benches/binding.mjs [--json]
//
// Every call reports how long the core took. The same call on the binding's own object, without the
// facade, takes the time of the core and of the binding; the rest is the time of the facade. The
// figures are medians of 10,000 calls, and both ways take turns.

import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { native } from '../dist/native.js'
import { calls, measuredVm } from './measured-vm.mjs'
import { printRows, Row } from './rows.mjs'

const CALLS = 10_000
const json = process.argv.includes('--json')

const median = values => values.sort()[values.length >> 1]
const us = ns => ns / 1000

/**
 * The binding's object of a VM, which the facade keeps to itself: it is what a method of the
 * binding is called on.
 */
function bindingOf(vm) {
  const { NativeVirtualMachine } = native()
  const { loggingBlocks } = NativeVirtualMachine.prototype
  let binding
  NativeVirtualMachine.prototype.loggingBlocks = function () {
    binding = this
    return loggingBlocks.call(this)
  }
  vm.dirtyMemory.loggingBlocks()
  NativeVirtualMachine.prototype.loggingBlocks = loggingBlocks
  return binding
}

/**
 * How long a call takes, in ns, and what it resolves with or returns. A call that is synchronous
 * must not wait for the event loop.
 */
async function timed(call) {
  const began = performance.now()
  const pending = call()
  const result = pending instanceof Promise ? await pending : pending
  return { ns: (performance.now() - began) * 1e6, result }
}

/**
 * The medians, in ns, of what a call takes in all and in the core, and of the binding's and the
 * facade's part of it.
 */
async function split({ call, direct, rustNs }, object, dirtyMemory) {
  const [all, core, binding, over] = [1, 2, 3, 4].map(() => new Float64Array(CALLS))
  for (let i = 0; i < CALLS; i++) {
    const ofFacade = await timed(() => call(dirtyMemory))
    all[i] = ofFacade.ns
    core[i] = rustNs(ofFacade.result)
    over[i] = ofFacade.ns - core[i]
    const ofBinding = await timed(() => direct(object))
    binding[i] = ofBinding.ns - rustNs(ofBinding.result)
  }
  const [total, inCore, inBinding, rest] = [all, core, binding, over].map(median)
  return { total, core: inCore, binding: inBinding, facade: rest - inBinding, over: rest }
}

/**
 * Bytes that a call leaves behind, and the windows that this is the median of: measured in a
 * process of its own.
 */
function growth(name) {
  const flags = ['--expose-gc', '--max-semi-space-size=1']
  const program = fileURLToPath(new URL('growth.mjs', import.meta.url))
  return JSON.parse(execFileSync(process.execPath, [...flags, program, name], { encoding: 'utf8' }))
}

const vm = await measuredVm()
const rows = []
try {
  const binding = bindingOf(vm)
  for (const call of Object.values(calls)) {
    // Once for the caches and the compiler.
    await split(call, binding, vm.dirtyMemory)
    const took = await split(call, binding, vm.dirtyMemory)
    const parts = ['core', 'binding', 'facade'].map(part => `${part} ${us(took[part]).toFixed(2)}`)
    if (!json) console.log(`${call.name}: ${us(took.total).toFixed(2)} µs: ${parts.join(', ')}`)
    rows.push(
      new Row(
        `${call.name}: JavaScript over Rust (${parts.join(', ')})`,
        us(took.total),
        us(took.core),
        'µs',
        us(took.over),
        'at most',
        call.targetUs,
      ),
    )
  }
} finally {
  await vm.close()
}
for (const [key, { name }] of Object.entries(calls)) {
  const { windows, ...measured } = growth(key)
  const shown = windows.map(bytes => bytes.toFixed(1)).join(', ')
  // In whole bytes, because one page of a window's memory is 0.4 bytes a call. What is kept of a
  // call would be some bytes at the least.
  const median = Math.round(measured.median)
  const what = `${name}: growth of memory by a call, median of windows of 10,000 (${shown})`
  rows.push(new Row(what, median, 0, 'bytes', median, 'at most', 8))
}
printRows(rows, json)
