// npm test: the set-up, then the tests of both languages, then one line with the sum of both.
//
//   node scripts/test/run.mjs [LANGUAGE [OPTION…]]     the tests of one language only, rust or typescript, with options of its runner:
//                                                      npm run test:ts -- __test__/ground/units.test.ts

import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { giveUp } from '../build/prerequisites.mjs'
import { isMain } from '../main-module.mjs'
import { root } from '../root.mjs'
import { setUp } from '../setup.mjs'

/**
 * Runs a command with its output shown; resolves with how it ended and what it wrote to standard
 * output.
 */
function show(command, args, env = {}) {
  return new Promise(resolve => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let text = ''
    child.stdout.setEncoding('utf8').on('data', chunk => {
      text += chunk
      process.stdout.write(chunk)
    })
    child.on('error', error => resolve({ failed: true, text: String(error) }))
    child.on('close', status => resolve({ failed: status !== 0, text }))
  })
}

/**
 * A run that failed without a failed test has crashed or did not build: that is one failure. No
 * test at all is one too.
 */
function tally(name, failed, { passed, failed: failures, skipped }) {
  if ((failed && failures === 0) || passed + failures === 0) {
    process.stdout.write(`\n${name} ${failed ? 'ended with an error' : 'ran no test'}\n`)
    return { passed, failed: failures + 1, skipped }
  }
  return { passed, failed: failures, skipped }
}

async function rust(options) {
  const args = ['test', '--workspace', '--locked', '--no-fail-fast', ...options]
  const { failed, text } = await show('cargo', args)
  const lines = stripVTControlCharacters(text).matchAll(
    /^test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored/gm,
  )
  const sum = { passed: 0, failed: 0, skipped: 0 }
  for (const [, passed, failures, ignored] of lines) {
    sum.passed += Number(passed)
    sum.failed += Number(failures)
    sum.skipped += Number(ignored)
  }
  return tally('cargo test', failed, sum)
}

/** How a line begins that names a test which failed at first. */
export const SECOND_TRY = 'passed only at the second try: '

/** The names of the tests that failed and then passed, from vitest's report. */
function passedAtSecondTry(files) {
  return files.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status, failureMessages }) => status === 'passed' && failureMessages.length > 0)
      .map(({ fullName }) => `${relative(root, name)} > ${fullName}`),
  )
}

/**
 * Runs `vitest run` with these arguments; resolves with the counts. They are vitest's own: a test
 * of a gate writes sums to standard output too, which are none of this run's.
 */
export async function runVitest(args = [], env = {}) {
  const report = join(root, 'target/vitest.json')
  mkdirSync(join(root, 'target'), { recursive: true })
  rmSync(report, { force: true })
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const { failed } = await show(process.execPath, [vitest, 'run', ...reporters, ...args], env)
  let sum = { passed: 0, failed: 0, skipped: 0 }
  try {
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } =
      JSON.parse(readFileSync(report, 'utf8'))
    for (const name of passedAtSecondTry(testResults))
      process.stdout.write(`${SECOND_TRY}${name}\n`)
    sum = {
      passed: numPassedTests,
      failed: numFailedTests,
      skipped: numPendingTests + numTodoTests,
    }
  } catch {
    // No report: vitest itself has crashed, and tally() counts that.
  }
  return tally('vitest', failed, sum)
}

const languages = { rust, typescript: options => runVitest(options) }

/**
 * Runs the tests of both languages, or of one of them with options of its runner; resolves with the
 * sum.
 */
export async function runTests(language, options = []) {
  if (language !== undefined && !Object.hasOwn(languages, language))
    giveUp(`there are no tests in '${language}': ${Object.keys(languages).join(', ')}.`)
  setUp()
  const sums = []
  for (const name of language === undefined ? Object.keys(languages) : [language])
    sums.push(await languages[name](options))
  const add = key => sums.reduce((sum, one) => sum + one[key], 0)
  return { passed: add('passed'), failed: add('failed'), skipped: add('skipped') }
}

/** The closing line, and the exit status that goes with it. */
export function conclude({ passed, failed, skipped }) {
  process.stdout.write(
    `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`,
  )
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0
}

if (isMain(import.meta.url)) {
  const [language, ...options] = process.argv.slice(2)
  conclude(await runTests(language, options))
}
