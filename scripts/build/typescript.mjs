// dist/: the ES modules and their types by tsc, the CommonJS bundle and the command by rolldown,
// the manual pages, the page of `serve`, and the CommonJS types derived from the others: the same
// declarations under the names that a CommonJS importer looks for.

import { spawnSync } from 'node:child_process'
import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../root.mjs'
import { buildManual } from './manual.mjs'
import { buildPage } from './page.mjs'

const dist = join(root, 'dist')

function run(bin, args) {
  const { status } = spawnSync(join(root, 'node_modules/.bin', bin), args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (status !== 0) process.exit(status ?? 1)
}

rmSync(dist, { recursive: true, force: true })
run('tsc', ['-p', 'tsconfig.build.json'])
run('rolldown', ['-c', 'rolldown.config.mjs', '--log-level', 'warn'])

for (const name of readdirSync(dist, { recursive: true })) {
  if (!name.endsWith('.d.ts')) continue
  const types = readFileSync(join(dist, name), 'utf8').replaceAll(
    /(from '\.[^']*)\.js'/g,
    "$1.cjs'",
  )
  writeFileSync(join(dist, name.replace(/\.d\.ts$/, '.d.cts')), types)
}
chmodSync(join(dist, 'cli.js'), 0o755)
await buildManual()
await buildPage()
