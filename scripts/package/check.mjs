// Packs what npm would publish, with this machine's binary, and checks the tarballs. The files in
// each are compared with the golden lists. publint and attw check the exports of the main package,
// and its types for both module systems.
//
//   node scripts/package/check.mjs [--update]     --update: what is packed now becomes the golden list

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { commandLine } from '../command-line.mjs'
import { root } from '../root.mjs'
import { packAll } from './pack.mjs'
import { platforms } from './packages.mjs'
import { differencesFromGolden, writeGolden } from './packed-files.mjs'

const { values } = commandLine(import.meta.url, { options: { update: { type: 'boolean' } } })
const packed = packAll({ hostOnly: true })
const main = packed.at(-1)
const [platform] = packed
if (values.update) {
  writeGolden(main)
  // The platforms' packages differ in the name of the binary alone.
  for (const { name, file } of platforms) {
    writeGolden({
      name,
      files: platform.files.map(entry => (entry.endsWith('.node') ? file : entry)),
    })
  }
}

const differences = packed.flatMap(differencesFromGolden)
if (differences.length > 0) {
  process.stderr.write(`not what __test__/install/golden has:\n${differences.join('\n')}\n`)
  process.stderr.write('If that is meant: node scripts/package/check.mjs --update\n')
}

const gates = [
  ['publint', ['--strict', main.tarball]],
  ['publint', ['--strict', platform.tarball]],
  ['attw', [main.tarball, '--format', 'table-flipped']],
]
const failed = gates.filter(([bin, args]) => {
  const { status } = spawnSync(join(root, 'node_modules/.bin', bin), args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  return status !== 0
})
process.exitCode = failed.length > 0 || differences.length > 0 ? 1 : 0
