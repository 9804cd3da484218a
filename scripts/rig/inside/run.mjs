// node run.mjs FILE: runs one test file in the rig, and prints results in the form of libtest,
// which runs the core's tests there.

import { pathToFileURL } from 'node:url'
import { startTests } from '@vitest/runner'

/** What a test may take on a machine that is emulated. */
const PATIENCE_MS = 600_000

const [file] = process.argv.slice(2)
const say = text => process.stdout.write(`${text}\n`)

const config = {
  root: process.cwd(),
  setupFiles: [],
  name: undefined,
  passWithNoTests: false,
  testNamePattern: undefined,
  allowOnly: false,
  sequence: { seed: 0, hooks: 'stack', setupFiles: 'list' },
  chaiConfig: undefined,
  maxConcurrency: 1,
  testTimeout: PATIENCE_MS,
  hookTimeout: PATIENCE_MS,
  retry: 0,
  includeTaskLocation: false,
  tags: [],
  tagsFilter: undefined,
  strictTags: false,
}

const failures = []
const fullName = task => (task.suite ? `${fullName(task.suite)} > ${task.name}` : task.name)

const counts = { ok: 0, FAILED: 0, ignored: 0 }
function told(test) {
  const { state, errors = [] } = test.result ?? { state: 'skip' }
  const outcome = state === 'pass' ? 'ok' : state === 'fail' ? 'FAILED' : 'ignored'
  counts[outcome] += 1
  say(`test ${fullName(test)} ... ${outcome}`)
  for (const { message, stack } of errors)
    failures.push(`---- ${fullName(test)}\n${stack ?? message}`)
}

/** The tests of a suite, or of a file. */
const testsOf = task => (task.type === 'test' ? [task] : task.tasks.flatMap(testsOf))

const runner = {
  config,
  importFile: path => import(pathToFileURL(path).href),
  onAfterRunTask: told,
}
const files = await startTests([{ filepath: file }], runner)
for (const task of files.flatMap(testsOf)) if (task.mode !== 'run') told(task)
for (const { result, name } of files) {
  // A file that could not be loaded, or a hook that threw.
  if (result?.errors?.length > 0) {
    counts.FAILED += 1
    failures.push(...result.errors.map(({ message, stack }) => `---- ${name}\n${stack ?? message}`))
  }
}
if (failures.length > 0) say(`\nfailures:\n\n${failures.join('\n\n')}`)
const verdict = counts.FAILED === 0 ? 'ok' : 'FAILED'
say(
  `\ntest result: ${verdict}. ${counts.ok} passed; ${counts.FAILED} failed; ${counts.ignored} ignored\n`,
)
// All of a file may be of what the kernel has not; none at all is a mistake.
process.exit(counts.FAILED === 0 && counts.ok + counts.ignored > 0 ? 0 : 1)
