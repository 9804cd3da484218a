// Runs the gates of .ci/run: every gate of CI, or a part of them.
//
//   bash .ci/run                all that CI checks on one machine, with the short sets of the rigs
//   bash .ci/run lint           the linters
//   bash .ci/run build          what is built in other ways than the tests take
//   bash .ci/run test           the tests, on this machine's own kernel
//   bash .ci/run short          the short sets of the rigs
//   bash .ci/run rig NAME…      every test in those rigs
//
// Every gate runs even when an earlier one has failed; the failed ones are named; the last line is
// 'N passed, N failed'. Only the part `test` needs /dev/kvm. Installs what else is missing, where
// it may.

import { commandLine } from '../command-line.mjs'
import { gatesOf } from '../gates.mjs'
import { root } from '../root.mjs'
import { conclude } from '../test/run.mjs'
import { abortOnSignals, runGate } from './run.mjs'

/** The parts that a run without a name is made of. */
const PARTS = ['lint', 'build', 'test', 'short']

const { positionals } = commandLine(import.meta.url, { allowPositionals: true })
const [part = 'all', ...names] = positionals
const gates = gatesOf(root)
const rigNames = gates
  .filter(gate => gate.in.includes('rig'))
  .map(({ name }) => name.replace('rig:', ''))

function refuse(why) {
  console.error(why)
  process.exit(2)
}

function chosen() {
  const within = (...parts) => gates.filter(gate => gate.in.some(one => parts.includes(one)))
  if (part === 'rig') {
    const unknown = names.filter(name => !rigNames.includes(name))
    if (unknown.length > 0 || names.length === 0)
      refuse(
        `${unknown.length > 0 ? `there is no rig '${unknown[0]}'` : 'which rig?'} Known: ${rigNames.join(' ')}`,
      )
    return names.map(name => gates.find(gate => gate.name === `rig:${name}`))
  }
  if (names.length > 0) refuse(`'${names[0]}': only the part 'rig' takes names`)
  if (part === 'all') return within(...PARTS)
  if (PARTS.includes(part)) return within(part)
  return refuse(`there is no part '${part}': ${PARTS.join(', ')}, rig NAME…, or none for all`)
}

const setUp = [
  // A linter needs nothing from the system that a build does not need.
  ...(part === 'lint'
    ? []
    : [
        {
          name: 'system packages',
          command: ['bash', '.ci/system-packages', ...(part === 'rig' ? ['rig'] : [])],
        },
      ]),
  { name: 'set-up', command: ['node', 'scripts/setup.mjs'] },
]
const list = [...setUp, ...chosen()]

// A test that needs KVM, or QEMU, fails here instead of being skipped.
process.env.DIRTYRATE_REQUIRE_KVM = '1'
const signal = abortOnSignals()
const sum = { passed: 0, failed: 0, skipped: 0 }
const failed = []
const secondTries = []
const times = []
try {
  for (const gate of list) {
    process.stdout.write(`\n== ${gate.name}\n`)
    const result = await runGate(gate, { root, signal })
    for (const key of Object.keys(sum)) sum[key] += result[key]
    secondTries.push(...result.secondTries)
    times.push(`${gate.name} ${result.seconds} s`)
    if (!result.ok) failed.push({ name: gate.name, failures: result.failures })
  }
} catch (error) {
  if (error.name !== 'Interrupted') throw error
  failed.push({ name: error.message, failures: [] })
  sum.failed += 1
}
process.stdout.write(`\n${times.join(', ')}\n`)
for (const line of secondTries) process.stdout.write(`${line}\n`)
// A reader who sees only the end of the output sees what failed, too.
for (const { name, failures } of failed)
  process.stdout.write([`failed: ${name}`, ...failures.map(line => `  ${line}`), ''].join('\n'))
conclude(sum)
