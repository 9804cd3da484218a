// npm run test:install: packs, publishes to a registry on loopback, and runs __test__/install on what came out, as a user has it.
//
//   node scripts/test-install.mjs [--host] [--packed] [FILE…]     --host: only this machine's binary, as npm run setup built it
//                                                                 --packed: what is packed already
//                                                                 FILE: only the test files with this in their names

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { packAll } from './package.mjs'
import { host, hostPackagesFolder, packagesFolder } from './packages.mjs'
import { startRegistry } from './registry.mjs'
import { root } from './setup.mjs'

const hostOnly = process.argv.includes('--host')
const files = process.argv.slice(2).filter(argument => !argument.startsWith('--'))
if (!process.argv.includes('--packed')) packAll({ hostOnly })

const registry = await startRegistry()
let status = 1
try {
  const options = [
    ...(hostOnly ? ['--host'] : []),
    '--registry',
    registry.url,
    '--userconfig',
    registry.npmrc,
    '--loglevel',
    'error',
  ]
  const published = spawnSync(process.execPath, [join(root, 'scripts/publish.mjs'), ...options], {
    stdio: 'inherit',
  })
  if (published.status === 0) {
    const vitest = join(root, 'node_modules/vitest/vitest.mjs')
    const env = {
      ...process.env,
      DIRTYRATE_PACKAGES: hostOnly ? hostPackagesFolder : packagesFolder,
      DIRTYRATE_PLATFORM_PACKAGE: host.name,
      DIRTYRATE_REGISTRY: registry.url,
    }
    const args = [vitest, 'run', '--config', join(root, '__test__/install/vitest.config.ts'), ...files]
    status = spawnSync(process.execPath, args, { cwd: root, env, stdio: 'inherit' }).status ?? 1
  }
} finally {
  registry.stop()
}
process.exitCode = status
