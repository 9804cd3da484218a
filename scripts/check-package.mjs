// Packs the package as npm would publish it, and lets publint and attw look at the tarball: exports, types of both module systems.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root, setUp } from './setup.mjs'

setUp()
const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-pack-'))
try {
  const packed = spawnSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (packed.status !== 0) process.exit(1)
  const answer = JSON.parse(packed.stdout)
  const [{ filename, files }] = Array.isArray(answer) ? answer : Object.values(answer)
  const tarball = join(folder, filename)
  const inside = new Set(files.map(file => file.path))
  const wanted = [
    'dist/index.js',
    'dist/index.cjs',
    'dist/cli.js',
    'dist/THIRD-PARTY.txt',
    'native/binding.cjs',
    'native/binding.d.cts',
  ]
  const absent = wanted.filter(file => !inside.has(file))
  if (absent.length > 0) process.stderr.write(`not in the package: ${absent.join(', ')}\n`)
  const gates = [
    ['publint', ['--strict', tarball]],
    ['attw', [tarball, '--format', 'table-flipped']],
  ]
  const failed = gates.filter(([bin, args]) => {
    const { status } = spawnSync(join(root, 'node_modules/.bin', bin), args, {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    return status !== 0
  })
  process.exitCode = failed.length > 0 || absent.length > 0 ? 1 : 0
} finally {
  rmSync(folder, { recursive: true, force: true })
}
