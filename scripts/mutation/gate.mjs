// Breaks the core and the facade in known ways, one at a time, in a copy of the clone, and demands
// that a test notices each. A test suite that passes although the core is broken would be worth
// nothing. The breaks are the data in scripts/mutation/breaks/, which scripts/mutation/breaks.mjs
// describes. Exit status 0: every break was noticed, and each test passes where nothing is broken.
//
//   node scripts/mutation/gate.mjs [--area AREA]… [NAME…]     the breaks whose names contain one of these; all by default
//     --check    only demand that each break fits the code
//     --list     only list the breaks, and which of them have been noticed
//     --again    also those that were noticed before, with the same code
//
// The breaks that were noticed are kept, so that a run that was interrupted goes on where it stood.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { commandLine } from '../command-line.mjs'
import { openResults } from '../gates/results.mjs'
import { treeKey } from '../gates/tree-key.mjs'
import { root } from '../root.mjs'
import { diffOf, faultsOf, loadBreaks } from './breaks.mjs'
import { copyTree } from './tree.mjs'

const { values, positionals } = commandLine(import.meta.url, {
  allowPositionals: true,
  options: {
    area: { type: 'string', multiple: true, default: [] },
    check: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    again: { type: 'boolean', default: false },
  },
})
const breaks = await loadBreaks(root)
const areas = [...new Set(breaks.map(({ area }) => area))]
for (const area of values.area)
  if (!areas.includes(area)) {
    console.error(`no area is called ${area}. There are: ${areas.join(', ')}`)
    process.exit(2)
  }
const chosen = breaks.filter(
  ({ area, name }) =>
    (values.area.length === 0 || values.area.includes(area)) &&
    (positionals.length === 0 || positionals.some(part => name.includes(part))),
)

const faults = faultsOf(root, chosen)
for (const fault of faults) console.log(`FAILED ${fault}`)
if (values.check || faults.length > 0) {
  console.log(`${chosen.length} breaks, ${faults.length} of them do not fit the code`)
  process.exit(faults.length === 0 && chosen.length > 0 ? 0 : 1)
}

const results = openResults(`mutation-${treeKey(root)}`)
/**
 * The tasks: each break, and then each test with nothing broken, which is the other half of the
 * proof.
 */
const tasks = [
  ...chosen.map(one => ({
    key: `${one.area}: ${one.name}`,
    area: one.area,
    test: one.test,
    broken: one,
  })),
  ...[...new Set(chosen.map(({ test }) => test))].map(test => ({
    key: `unbroken: ${test}`,
    area: 'unbroken',
    test,
  })),
]
if (values.list) {
  for (const { key, test } of tasks)
    console.log(`${results.get(key) ? 'ok  ' : 'open'} ${key} (${test})`)
  process.exit(0)
}
// What runs goes with this process.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.once(signal, () => {
    console.log('\nBroken off. What was noticed is kept: the same command goes on from here.')
    process.exit(1)
  })

const sums = new Map()
let tree
for (const { key, area, test, broken } of tasks) {
  const sum = sums.get(area) ?? { passed: 0, failed: 0 }
  sums.set(area, sum)
  const say = (ok, text) => {
    sum[ok ? 'passed' : 'failed'] += 1
    console.log(`${ok ? 'ok    ' : 'FAILED'} ${key}: ${text}`)
  }
  const kept = values.again ? undefined : results.get(key)
  if (kept) {
    say(true, `${kept.text} before`)
    continue
  }
  results.remove(key)
  tree ??= copyTree(root, join(root, 'target/mutation'))
  const { passed, ended, output, errors } = await tree.run(test, broken)
  const how = ended === undefined ? '' : ` (${ended})`
  if (errors !== undefined) {
    say(false, `does not compile:\n${errors}`)
  } else if (passed === (broken === undefined)) {
    const text = broken === undefined ? 'passes' : `noticed by ${test}${how}`
    say(true, text)
    results.put(key, { text })
  } else if (broken === undefined) {
    say(false, `does not pass${how}:\n${output}`)
  } else {
    const whole = readFileSync(join(root, broken.file), 'utf8')
    say(false, `${test} does not notice\n${diffOf(broken, whole)}`)
  }
}

console.log()
for (const [area, { passed, failed }] of sums)
  console.log(`${area}: ${passed} passed, ${failed} failed`)
const total = kind => [...sums.values()].reduce((sum, one) => sum + one[kind], 0)
console.log(`${total('passed')} passed, ${total('failed')} failed`)
process.exitCode = total('failed') === 0 && total('passed') > 0 ? 0 : 1
