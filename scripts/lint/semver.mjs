// Compares the API of the crates with the API of the last release: cargo-semver-checks fails if the
// version in Cargo.toml promises more compatibility than the API has. The last release is the
// newest tag `v*` before this commit.
//
//   node scripts/lint/semver.mjs [REVISION]     compares with that revision instead

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { giveUp, orGiveUp } from '../build/prerequisites.mjs'
import { commandLine } from '../command-line.mjs'
import { root } from '../root.mjs'
import { cargoTool } from '../tools/install.mjs'

const VERSION = '0.51.0'

/** The tag of the last release, or undefined before the first one. */
function lastRelease() {
  const options = { cwd: root, encoding: 'utf8' }
  if (spawnSync('git', ['rev-parse', '--is-shallow-repository'], options).stdout.trim() !== 'false')
    giveUp('this is no full clone, so that tags may be missing: git fetch --unshallow --tags')
  const { status, stdout } = spawnSync(
    'git',
    ['describe', '--tags', '--abbrev=0', '--match', 'v*'],
    options,
  )
  return status === 0 ? stdout.trim() : undefined
}

const { positionals } = commandLine(import.meta.url, { allowPositionals: true })
const baseline = positionals[0] ?? lastRelease()
if (baseline === undefined) {
  console.log('semver: nothing is released yet, so that every change of the API is allowed')
} else {
  const tools = orGiveUp(() => cargoTool('cargo-semver-checks', VERSION))
  const crates = ['-p', 'dirtyrate', '-p', 'dirtyrate-machine']
  const args = ['semver-checks', ...crates, '--baseline-rev', baseline]
  const { status } = spawnSync(join(tools, 'cargo-semver-checks'), args, {
    cwd: root,
    stdio: 'inherit',
  })
  process.exitCode = status ?? 1
}
