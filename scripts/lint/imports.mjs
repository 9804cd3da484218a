// Checks the imports of ts/ by the rules in scripts/lint/imports.rules.cjs, with
// dependency-cruiser. Violations that are older than their rule are listed in imports.known.json;
// any other violation fails.
//
//   node scripts/lint/imports.mjs             the check
//   node scripts/lint/imports.mjs --all       shows what is listed as well
//   node scripts/lint/imports.mjs --accept    makes what breaks a rule now the list

import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { orGiveUp } from '../build/prerequisites.mjs'
import { commandLine } from '../command-line.mjs'
import { root } from '../root.mjs'
import { npmTools } from '../tools/install.mjs'

const KNOWN = 'scripts/lint/imports.known.json'
const { values } = commandLine(import.meta.url, {
  options: { all: { type: 'boolean' }, accept: { type: 'boolean' } },
})

const modules = orGiveUp(() => npmTools('scripts/tools', 'target/tools/node'))
const program = join(modules, 'dependency-cruiser/bin/dependency-cruise.mjs')
const args = [program, 'ts', '--config', 'scripts/lint/imports.rules.cjs']

if (values.accept) {
  const { stdout, stderr } = spawnSync(process.execPath, [...args, '--output-type', 'baseline'], {
    cwd: root,
    encoding: 'utf8',
  })
  process.stderr.write(stderr)
  writeFileSync(join(root, KNOWN), stdout)
} else {
  const known = values.all ? [] : ['--ignore-known', KNOWN]
  const { status } = spawnSync(process.execPath, [...args, ...known, '--output-type', 'err-long'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  process.exitCode = status ?? 1
}
