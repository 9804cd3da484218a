// Runs the core's concurrent code in loom's models, which go through every order of events up to a
// number of preemptions.
//
//   node scripts/test/loom.mjs [PREEMPTIONS]     2 by default: seconds; 3 takes minutes

import { spawnSync } from 'node:child_process'
import { commandLine } from '../command-line.mjs'
import { root } from '../root.mjs'

const { positionals } = commandLine(import.meta.url, { allowPositionals: true })
const [preemptions = '2'] = positionals

// A target directory of its own: with other flags, everything is another build.
const args = [
  'test',
  '--locked',
  '--release',
  '--target-dir',
  'target/loom',
  '-p',
  'dirtyrate',
  '-p',
  'dirtyrate-machine',
  '--lib',
  'loom_models',
]
const { status } = spawnSync('cargo', args, {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, RUSTFLAGS: '--cfg loom', LOOM_MAX_PREEMPTIONS: preemptions },
})
process.exitCode = status ?? 1
