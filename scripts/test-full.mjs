// npm run test:full: everything that npm test does, with the long forms of the tests, then loom's models with more preemptions, the packages
// as they are published, installed, the facade without external buffers, the mutation gate, and minutes of fuzzing.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { root } from './setup.mjs'
import { conclude, runTests } from './test.mjs'

process.env.DIRTYRATE_TEST_FULL = '1'
const sum = await runTests()

/** Runs one more gate, shown; whether it passed. */
function gate(name, passed, command, args) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  process.stdout.write(`\n${name}: ${status === 0 ? passed : 'FAILED'}\n`)
  return status === 0
}

/** For each target, of which there is one for each kernel. */
const FUZZ_SECONDS = 120

const gates = [
  gate('loom models', 'every order of events', process.execPath, [join(root, 'scripts/loom.mjs'), '3']),
  gate('install', 'every package works as installed', process.execPath, [
    join(root, 'scripts/test-install.mjs'),
  ]),
  gate('electron', 'nothing needs an external buffer', process.execPath, [
    join(root, 'scripts/test-electron.mjs'),
  ]),
  gate('mutation gate', 'every break fails a test', process.execPath, [
    join(root, 'scripts/mutation-gate.mjs'),
  ]),
  gate('rigs', 'every test passes on every kernel', process.execPath, [join(root, 'scripts/rig/run.mjs')]),
  gate('fuzz', 'nothing found', 'bash', [join(root, 'scripts/fuzz.sh'), String(FUZZ_SECONDS)]),
]
const passed = gates.filter(Boolean).length
conclude({ ...sum, passed: sum.passed + passed, failed: sum.failed + gates.length - passed })
