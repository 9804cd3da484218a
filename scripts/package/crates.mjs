// Packs the crates as they are published, and builds each from its package alone.
//
//   node scripts/package/crates.mjs
//
// Cargo builds the second crate with the package of the first one, which it puts into a registry
// below target/. It takes a version in a registry for something that never changes: it keeps what
// it unpacked in its home folder, and what it compiled in the target folder. Both are removed
// first, because they may be of an earlier state of this clone.

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { commandLine } from '../command-line.mjs'
import { root } from '../root.mjs'

const CRATES = ['dirtyrate', 'dirtyrate-machine']

commandLine(import.meta.url)
const home = process.env.CARGO_HOME ?? join(homedir(), '.cargo')
for (const kind of ['src', 'cache']) forget(join(home, 'registry', kind))
const target = join(root, 'target/crates')
rmSync(target, { recursive: true, force: true })
const packages = CRATES.flatMap(name => ['-p', name])
const options = ['--locked', '--allow-dirty', '--quiet', '--target-dir', target]
const { status } = spawnSync('cargo', ['package', ...packages, ...options], {
  cwd: root,
  stdio: 'inherit',
})
process.exitCode = status ?? 1

/**
 * Removes packages of our crates that came from a registry of files, which has no host in its name.
 */
function forget(folder) {
  const entries = path => (existsSync(path) ? readdirSync(path) : [])
  for (const registry of entries(folder).filter(name => name.startsWith('-')))
    for (const name of entries(join(folder, registry)))
      if (/^dirtyrate(-machine)?-\d/.test(name))
        rmSync(join(folder, registry, name), { recursive: true, force: true })
}
