// npm run test:rig [NAME] [-- [--short] [TEST…]]: boots the rig of that name, or all of them, runs
// the project's own tests inside, or those that are named, or its short set, and ends with 'N
// passed, N failed'. A rig that cannot be set up is a failure, with the reason, and so is a name
// that no test has.

import { commandLine } from '../command-line.mjs'
import { setUp } from '../setup.mjs'
import { conclude } from '../test/run.mjs'
import { boot } from './boot.mjs'
import { nodeTests } from './node-tests.mjs'
import { rigs } from './rigs.mjs'
import { rustTests } from './rust-tests.mjs'

/** As libtest says it, which the tests in Node say as well. */
const RESULT = /^test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored/

/**
 * How often a rig is booted if its own kernel panics or hangs, which is not a fault of the tests.
 * The jobs that had not ended are run again. Emulated SVM causes this now and then: see the rigs'
 * `threads` and `cpus`.
 */
const BOOTS = 4

/** Boots a rig and runs what is chosen in it; resolves with the sum of its tests. */
async function runRig(name, rig, names) {
  const only = test => names.length === 0 || names.includes(test)
  const print = text => process.stdout.write(`${text}\n`)
  const sum = { passed: 0, failed: 0, skipped: 0 }
  const failed = why => {
    sum.failed += 1
    print(`${name}: ${why}`)
  }
  print(`\n== rig ${name}: ${rig.about}`)
  try {
    const env = ['DIRTYRATE_REQUIRE_KVM=1', `DIRTYRATE_RIG=${name}`]
    const suites = [rustTests, nodeTests].map(tests => tests(rig, { names, only, env }))
    const jobs = suites.flatMap(suite => suite.jobs)
    const fill = (cpio, of) => {
      for (const suite of suites) suite.fill(cpio, of)
    }
    const absent = names.filter(name => !jobs.some(job => job.name === name))
    if (absent.length > 0) throw new Error(`no test is called ${absent.join(', ')}`)
    if (jobs.length === 0) throw new Error('there is no test')
    const counts = new Map()
    const began = new Set()
    const onLine = (line, job) => {
      if (!began.has(job)) {
        began.add(job)
        print(`\n-- ${name}: ${job.name}`)
      }
      print(line)
      const result = RESULT.exec(line)
      if (result) counts.set(job, result.slice(1).map(Number))
    }
    const statuses = new Map()
    let left = jobs
    for (let boots = 1; left.length > 0; boots++) {
      const { ended, failed: how } = await boot(rig, { jobs: left, fill, onLine })
      left.forEach((job, at) => {
        statuses.set(job, ended[at])
      })
      if (how === undefined || boots === BOOTS) break
      left = left.filter(job => statuses.get(job) === undefined)
      for (const job of left) {
        counts.delete(job)
        began.delete(job)
      }
      if (left.length > 0)
        print(`\n${name}: its kernel ${how}. Boot ${boots + 1}, for what had not ended.`)
    }
    for (const job of jobs) {
      const [passed, failures, skipped] = counts.get(job) ?? [0, 0, 0]
      const status = statuses.get(job)
      sum.passed += passed
      sum.failed += failures
      sum.skipped += skipped
      if (status === undefined) failed(`${job.name} did not end: the rig did before`)
      else if (status !== 0 && failures === 0) failed(`${job.name} ended with status ${status}`)
      else if (!counts.has(job)) failed(`${job.name} gave no result`)
    }
  } catch (error) {
    failed(`it cannot be set up: ${error.message}`)
  }
  return sum
}

const { positionals, values } = commandLine(import.meta.url, {
  allowPositionals: true,
  options: { short: { type: 'boolean', default: false } },
})
const isRig = name => Object.hasOwn(rigs, name)
const names = positionals.filter(isRig)
const tests = positionals.filter(name => !isRig(name))
const chosen = ({ short }) => (values.short ? [...short, ...tests] : tests)

// The initrd goes with this process, and QEMU too.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1))

setUp()
const total = { passed: 0, failed: 0, skipped: 0 }
for (const name of names.length > 0 ? names : Object.keys(rigs)) {
  const sum = await runRig(name, rigs[name], chosen(rigs[name]))
  for (const key of Object.keys(total)) total[key] += sum[key]
}
process.stdout.write('\n')
conclude(total)
