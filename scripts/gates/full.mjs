// npm run test:full: every gate in its long form, which takes hours. It keeps what has passed, by
// gate and by the hash of the code without the documentation, and goes on there when it is called
// again; Ctrl-C loses only the gate that runs.
//
//   npm run test:full                        what has not passed yet
//   npm run test:full -- --list              each gate: passed, failed or open, with its time
//   npm run test:full -- rig:svm fuzz        one gate and one group of gates
//   npm run test:full -- --again rig:svm     also if it has passed before
//
// The last line is 'N passed, N failed' for the gates that were asked for. If a gate counts tests,
// its tests are counted.

import { commandLine } from '../command-line.mjs'
import { gatesOf } from '../gates.mjs'
import { root } from '../root.mjs'
import { setUp } from '../setup.mjs'
import { conclude } from '../test/run.mjs'
import { openResults } from './results.mjs'
import { abortOnSignals, runGate } from './run.mjs'
import { commitOf, treeKey } from './tree-key.mjs'

const { values, positionals } = commandLine(import.meta.url, {
  allowPositionals: true,
  options: {
    list: { type: 'boolean', default: false },
    again: { type: 'boolean', default: false },
  },
})

const gates = gatesOf(root).filter(gate => gate.in.includes('full'))
const isNamed = (gate, name) => gate.name === name || gate.name.startsWith(`${name}:`)
for (const name of positionals)
  if (!gates.some(gate => isNamed(gate, name))) {
    console.error(`no gate is called ${name}. There are: ${gates.map(gate => gate.name).join(' ')}`)
    process.exit(2)
  }
const chosen = gates.filter(
  gate => positionals.length === 0 || positionals.some(name => isNamed(gate, name)),
)

/** The hash of what a gate's answer depends on. */
const keyOf = gate => treeKey(root, gate.documents ? () => true : undefined)
const keys = { code: keyOf({}), all: keyOf({ documents: true }) }
const resultsOf = gate => openResults(`full-${gate.documents ? keys.all : keys.code}`)

function duration(seconds) {
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

/** A line for each chosen gate. */
function list() {
  const width = Math.max(...chosen.map(({ name }) => name.length))
  for (const gate of chosen) {
    const result = resultsOf(gate).get(gate.name)
    const state = result === undefined ? 'open' : result.ok ? 'passed' : 'failed'
    const counts =
      result && `${result.passed} passed, ${result.failed} failed, ${result.skipped} skipped`
    const more =
      result && `${duration(result.seconds)}, ${counts}, at ${result.commit}, ${result.endedAt}`
    console.log(`${state.padEnd(6)}  ${gate.name.padEnd(width)}  ${more ?? gate.about}`)
  }
}

if (values.list) {
  list()
  process.exit(0)
}

if (chosen.some(gate => !gate.bare)) setUp()
process.env.DIRTYRATE_TEST_FULL = '1'
// A test that needs KVM, or QEMU, fails here instead of being skipped.
process.env.DIRTYRATE_REQUIRE_KVM = '1'
const signal = abortOnSignals()
const sum = { passed: 0, failed: 0, skipped: 0 }
const count = result => {
  for (const key of Object.keys(sum)) sum[key] += result[key]
}
try {
  for (const gate of chosen) {
    const results = resultsOf(gate)
    const before = results.get(gate.name)
    if (before?.ok && !values.again) {
      count(before)
      console.log(`\n== ${gate.name}: passed before, at ${before.commit}`)
      continue
    }
    console.log(`\n== ${gate.name}: ${gate.about}`)
    const commit = commitOf(root)
    const result = await runGate(gate, { root, log: results.log(gate.name), signal })
    count(result)
    const changed = keyOf(gate) !== (gate.documents ? keys.all : keys.code)
    if (changed)
      console.log(`\n${gate.name}: files have changed meanwhile, so that its result is not kept`)
    else results.put(gate.name, { ...result, commit, endedAt: new Date().toISOString() })
    console.log(`\n${gate.name}: ${result.ok ? 'passed' : 'FAILED'} in ${duration(result.seconds)}`)
  }
} catch (error) {
  if (error.name !== 'Interrupted') throw error
  console.log(`\n${error.message}: what has passed is kept, and the same command goes on from here`)
  sum.failed += 1
}
console.log()
list()
console.log()
conclude(sum)
