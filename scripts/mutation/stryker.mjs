// Runs StrykerJS on the facade's pure files. It changes operators, conditions, bounds and bodies,
// and a test has to fail. If no test fails, the mutant survives. A survivor must be listed in
// scripts/mutation/accepted-stryker.txt with the reason, and a listed mutant must survive.
//
//   node scripts/mutation/stryker.mjs [FILE…]     these files only, of those in PURE
//
// Texts are not changed, because the wording of an error is not a rule. This installs StrykerJS
// below target/.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { giveUp, orGiveUp } from '../build/prerequisites.mjs'
import { commandLine } from '../command-line.mjs'
import { root } from '../root.mjs'
import { conclude } from '../test/run.mjs'
import { npmTools } from '../tools/install.mjs'
import { disagreements, placeless, readAccepted } from './accepted.mjs'

/** The files, each with its tests, which need no KVM and take milliseconds. */
const PURE = {
  'ts/ground/units.ts': ['__test__/ground/units.test.ts'],
  'ts/ground/arguments.ts': ['__test__/ground/arguments.test.ts', '__test__/ground/units.test.ts'],
  'ts/qapi/arithmetic.ts': ['__test__/qapi/arithmetic.test.ts'],
  'ts/targets/uri.ts': ['__test__/targets/uri.test.ts'],
  'ts/measurement/windows.ts': ['__test__/measurement/window-arguments.test.ts'],
  'ts/measurement/mode.ts': ['__test__/measurement/mode.test.ts'],
  'ts/measurement/history.ts': ['__test__/measurement/history.test.ts'],
}

const { positionals: wanted } = commandLine(import.meta.url, { allowPositionals: true })
for (const file of wanted)
  if (!Object.hasOwn(PURE, file)) giveUp(`'${file}' is none of ${Object.keys(PURE).join(', ')}.`)
const files = wanted.length > 0 ? wanted : Object.keys(PURE)

const folder = join(root, 'target/stryker')
// Its peer is the clone's own vitest: a second copy of vitest would not know the tests of the
// first.
const modules = orGiveUp(() =>
  npmTools('scripts/mutation/stryker', 'target/stryker', ['--legacy-peer-deps']),
)
const program = join(modules, '@stryker-mutator/core/bin/stryker.js')
const vitest = join(modules, 'vitest')
if (!existsSync(vitest)) symlinkSync(join(root, 'node_modules/vitest'), vitest)

const report = join(folder, 'report.json')
const tests = [...new Set(files.flatMap(file => PURE[file]))]
writeFileSync(
  join(folder, 'vitest.config.mjs'),
  `export default { test: { include: ${JSON.stringify(tests)}, testTimeout: 60_000 } }\n`,
)
writeFileSync(
  join(folder, 'stryker.config.json'),
  JSON.stringify({
    mutate: files,
    mutator: { excludedMutations: ['StringLiteral'] },
    testRunner: 'vitest',
    vitest: { configFile: join(folder, 'vitest.config.mjs'), related: false },
    plugins: [join(folder, 'node_modules/@stryker-mutator/vitest-runner/dist/src/index.js')],
    // TypeScript 7 has not the functions that StrykerJS calls to rewrite a tsconfig.json: there is
    // nothing to rewrite here.
    tsconfigFile: 'no-tsconfig.json',
    ignorePatterns: ['target', 'crates', 'dist', 'examples', 'benches'],
    tempDirName: join('target', 'stryker', 'sandboxes'),
    coverageAnalysis: 'perTest',
    concurrency: 2,
    reporters: ['json', 'clear-text'],
    clearTextReporter: {
      allowColor: false,
      logTests: false,
      reportTests: false,
      reportMutants: false,
    },
    jsonReporter: { fileName: report },
    allowConsoleColors: false,
  }),
)
rmSync(report, { force: true })
const { status } = spawnSync(
  process.execPath,
  [program, 'run', join(folder, 'stryker.config.json')],
  {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  },
)
if (status !== 0) giveUp('StrykerJS did not come to its end.', 1)

const oneLine = text => text.replace(/\s+/g, ' ').trim()

/** The text between two places of a source; lines and columns begin at 1. */
function textAt(source, { start, end }) {
  const lines = source.split('\n').slice(start.line - 1, end.line)
  lines[lines.length - 1] = lines[lines.length - 1].slice(0, end.column - 1)
  lines[0] = lines[0].slice(start.column - 1)
  return lines.join('\n')
}

const mutants = Object.entries(JSON.parse(readFileSync(report, 'utf8')).files).flatMap(
  ([file, { source, mutants }]) =>
    mutants.map(({ location, replacement, status }) => ({
      status,
      name: `${file}:${location.start.line}:${location.start.column}: ${oneLine(textAt(source, location))} -> ${oneLine(replacement)}`,
    })),
)
const counted = mutants.filter(
  ({ status }) => !['Ignored', 'CompileError', 'RuntimeError'].includes(status),
)
const survivors = counted
  .filter(({ status }) => ['Survived', 'NoCoverage'].includes(status))
  .map(({ name }) => name)
const accepted = readAccepted(join(root, 'scripts/mutation/accepted-stryker.txt'))
const faults = disagreements(accepted, survivors, name =>
  files.some(file => name.startsWith(`${file}: `)),
)
for (const fault of faults) console.log(`FAILED ${fault}`)
const listed = survivors.filter(name => accepted.has(placeless(name))).length
console.log(
  `${counted.length - survivors.length} of ${counted.length} mutants are noticed, ${listed} survivors are listed`,
)
conclude({ passed: counted.length - survivors.length + listed, failed: faults.length })
