// Publishes what npm run package made. The platform packages come first, so that a user who gets
// the main package also gets its binary. Packages that the registry has already are skipped, so
// that a release that broke off can be run again.
//
//   node scripts/package/publish.mjs [--host] [OPTION OF npm publish…]     --host: this machine's platform only, as pack.mjs --host packs

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../root.mjs'
import { host, hostPackagesFolder, packagesFolder, platforms } from './packages.mjs'

const { name: main, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const given = process.argv.slice(2).filter(option => option !== '--host')
// A prerelease must not become the version that everybody gets.
const options = version.includes('-') ? [...given, '--tag', 'next'] : given
const hostOnly = process.argv.includes('--host')
const wanted = hostOnly ? [host] : platforms
const folder = hostOnly ? hostPackagesFolder : packagesFolder

/** Runs npm where no package is, so that it takes nothing from this clone's. */
const npm = (args, stdio) => spawnSync('npm', args, { cwd: folder, encoding: 'utf8', stdio })

const packages = [...wanted.map(({ name }) => name), main]
const absent = packages.filter(name => !existsSync(join(folder, `${name}-${version}.tgz`)))
if (absent.length > 0) {
  process.stderr.write(
    `publish: not packed: ${absent.join(', ')}. Make them with: npm run package\n`,
  )
  process.exit(1)
}
for (const name of packages) {
  const there = npm(
    ['view', `${name}@${version}`, 'version', ...given],
    ['ignore', 'pipe', 'ignore'],
  )
  if (there.status === 0 && there.stdout.trim() === version) {
    process.stdout.write(`${name}@${version} is published already\n`)
    continue
  }
  const tarball = join(folder, `${name}-${version}.tgz`)
  const { status } = npm(['publish', tarball, '--access', 'public', ...options], 'inherit')
  if (status !== 0) process.exit(status ?? 1)
}
