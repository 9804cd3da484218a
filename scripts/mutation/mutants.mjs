// Runs cargo-mutants on folders of the core. It replaces a function's body or an operator, and a
// test has to fail. If no test fails, the mutant survives. A survivor must be listed in
// scripts/mutation/accepted-mutants.txt with the reason, and a listed mutant must survive.
//
//   node scripts/mutation/mutants.mjs [--re REGEX] [FOLDER…]     folders of crates/dirtyrate/src; --re only those mutants
//   node scripts/mutation/mutants.mjs --list                     what has been gone through so far, with the code as it is
//
// Quick tests run first, and then the tests on real VMs run on the mutants that the quick tests
// have missed. Results are kept by the hash of the core, so that a run that was interrupted goes on
// where it stood. This installs cargo-mutants below target/.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { orGiveUp } from '../build/prerequisites.mjs'
import { commandLine } from '../command-line.mjs'
import { treeKey } from '../gates/tree-key.mjs'
import { MUTANT_FOLDERS } from '../gates.mjs'
import { root } from '../root.mjs'
import { conclude } from '../test/run.mjs'
import { cargoTool } from '../tools/install.mjs'
import { disagreements, placeless, readAccepted } from './accepted.mjs'

const VERSION = '27.1.0'
/**
 * The least time limit of a run of the tests; where they take longer with nothing broken, it is
 * five times that.
 */
const LEAST_TIMEOUT_S = 60

/** What only stands in for the kernel, or is a test itself. */
const NOT_THE_CORE = ['loom_models.rs', 'model_tests.rs', 'fake_log.rs']

/** By folder: the tests that take seconds. */
const QUICK = {
  dirty_memory: ['ledger', 'dirty_memory_model', 'read_beside_sync'],
  'kvm/dirty_ring': ['rings', 'ring_hazards'],
}
/** Tests on real VMs, which try what the quick ones miss. */
const THOROUGH = [
  ...[
    'measured_equals_truth',
    'windows',
    'migration_beside',
    'blocks_come_and_go',
    'backup_bitmap',
  ],
  ...[
    'dirty_memory_model',
    'rings',
    'ring_hazards',
    'ring_signals',
    'concurrent_use',
    'out_of_memory',
  ],
]

/** Parts of the library whose own tests take long and say nothing about these folders. */
const NOT_OF_THESE = ['bitmap::', 'workload::', 'boot::', 'sampling::']

const { values, positionals } = commandLine(import.meta.url, {
  allowPositionals: true,
  options: { re: { type: 'string' }, list: { type: 'boolean', default: false } },
})
const folders = positionals.length > 0 ? positionals : MUTANT_FOLDERS
for (const folder of folders)
  if (!MUTANT_FOLDERS.includes(folder)) {
    console.error(`no folder '${folder}': ${MUTANT_FOLDERS.join(', ')}`)
    process.exit(2)
  }

const env = {
  ...process.env,
  PATH: `${join(root, 'target/tools/bin')}${delimiter}${process.env.PATH}`,
  CARGO_TARGET_DIR: join(root, 'target/mutants/build'),
  DIRTYRATE_REQUIRE_KVM: '1',
  RUST_BACKTRACE: '0',
}
// The long forms of the tests would run once for each mutant.
delete env.DIRTYRATE_TEST_FULL

const cargo = (args, options) =>
  spawnSync('cargo', args, { cwd: root, env, encoding: 'utf8', ...options })
orGiveUp(() => cargoTool('cargo-mutants', VERSION))

// What runs goes with this process.
let running
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.once(name, () => {
    if (running) running.kill('SIGINT')
    console.log('\nBroken off. What was noticed is kept: the same command goes on from here.')
    process.exit(1)
  })

/** What a mutant's fate depends on: the core, its tests, and which of them run. */
const key = treeKey(root, path =>
  /^(crates\/dirtyrate(-machine)?\/(src|tests|build\.rs|Cargo)|Cargo\.|scripts\/mutants\.mjs)/.test(
    path,
  ),
)
const accepted = readAccepted(join(root, 'scripts/mutation/accepted-mutants.txt'))
const linesOf = path =>
  existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : []
const filter = folder => [
  ...['-p', 'dirtyrate', '-f', `crates/dirtyrate/src/${folder}/**`],
  ...NOT_THE_CORE.flatMap(name => ['-e', name]),
]

/** Runs cargo-mutants on `mutants`; resolves with whether it came to its end. */
function run(folder, output, tests, mutants) {
  const names = mutants.map(name => `^${name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')}$`)
  const args = [
    ...['mutants', '--output', output, '--profile', 'mutants', '--colors=never', '--no-times'],
    ...['--minimum-test-timeout', String(LEAST_TIMEOUT_S), '--annotations=none'],
    // Most of the tests on real VMs are the machine's.
    ...['--test-package', 'dirtyrate', '--test-package', 'dirtyrate-machine'],
    ...[...filter(folder), ...names.flatMap(name => ['--re', name])],
    ...['--', '--locked', '--lib', ...tests.flatMap(name => ['--test', name])],
    ...['--', ...NOT_OF_THESE.flatMap(name => ['--skip', name])],
  ]
  return new Promise(resolve => {
    running = spawn('cargo', args, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] })
    running.on('error', () => resolve(false))
    // 0: all were noticed; 2: some were missed; 3: some took too long.
    running.on('close', status => resolve([0, 2, 3].includes(status)))
  })
}

/** The fates of a folder's mutants so far, and how to go on. */
function openFolder(folder) {
  const listed = cargo([
    'mutants',
    '--list',
    '--json',
    ...filter(folder),
    ...(values.re ? ['--re', values.re] : []),
  ])
  if (listed.status !== 0) throw new Error(`cargo mutants --list failed:\n${listed.stderr}`)
  // Of some mutants, such as a deleted field, cargo-mutants lists all whatever the expression says.
  const asked = new RegExp(values.re ?? '')
  const names = JSON.parse(listed.stdout).flatMap(({ name }) => (asked.test(name) ? [name] : []))
  const state = join(root, 'target/mutants', key, folder.replaceAll('/', '-'))
  const stages = [
    { output: join(state, 'quick'), tests: QUICK[folder] },
    { output: join(state, 'thorough'), tests: [...new Set([...QUICK[folder], ...THOROUGH])] },
  ]
  /**
   * What a stage has found: its own files, and those of its earlier runs, which this keeps in one
   * place.
   */
  const fates = ({ output }) => {
    const gather = (kept, ...files) => {
      const path = join(output, kept)
      const all = [
        ...linesOf(path),
        ...files.flatMap(name => linesOf(join(output, 'mutants.out', name))),
      ]
      const unique = [...new Set(all)]
      mkdirSync(output, { recursive: true })
      writeFileSync(path, unique.map(name => `${name}\n`).join(''))
      return unique
    }
    const noticed = gather('noticed.txt', 'caught.txt', 'unviable.txt', 'timeout.txt')
    return {
      noticed,
      missed: gather('missed.txt', 'missed.txt').filter(name => !noticed.includes(name)),
    }
  }
  return { names, stages, fates }
}

const sum = { passed: 0, failed: 0 }
for (const folder of folders) {
  const { names, stages, fates } = openFolder(folder)
  let left = names
  let cutOff = false
  for (const stage of stages) {
    const before = fates(stage)
    const done = new Set([...before.noticed, ...before.missed])
    const open = left.filter(name => !done.has(name))
    if (values.list) {
      console.log(
        `${folder}: ${stage.tests.join(', ')}: ${left.length - open.length} of ${left.length} gone through`,
      )
    } else if (open.length > 0) {
      console.log(`\n${folder}: ${open.length} mutants with ${stage.tests.join(', ')}`)
      if (!(await run(folder, stage.output, stage.tests, open))) {
        console.log(`cargo-mutants did not come to its end`)
        sum.failed += 1
        cutOff = true
        break
      }
    }
    const { noticed, missed } = fates(stage)
    if (values.list) for (const name of missed) console.log(`  missed ${name}`)
    left = left.filter(name => !noticed.includes(name))
  }
  if (values.list || cutOff) continue
  const covered = new Set(names.map(placeless))
  const isCovered = name =>
    values.re ? covered.has(name) : name.startsWith(`crates/dirtyrate/src/${folder}/`)
  const faults = disagreements(accepted, left, isCovered)
  for (const fault of faults) console.log(`FAILED ${fault}`)
  const listed = left.filter(name => accepted.has(placeless(name))).length
  console.log(
    `${folder}: ${names.length - left.length} of ${names.length} mutants are noticed, ${listed} survivors are listed`,
  )
  sum.passed += names.length - left.length + listed
  sum.failed += faults.length
}
if (!values.list) conclude(sum)
