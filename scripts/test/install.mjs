// npm run test:install: packs, publishes to a registry on loopback, installs from there as a user
// does, and runs __test__/install.
//
//   node scripts/test/install.mjs [--host] [--packed] [FILE…]     --host: only this machine's binary, as npm run setup built it
//                                                                 --packed: what is packed already
//                                                                 FILE: only the test files with this in their names

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { commandLine } from '../command-line.mjs'
import { packAll } from '../package/pack.mjs'
import { host, hostPackagesFolder, packagesFolder } from '../package/packages.mjs'
import { root } from '../root.mjs'
import { startRegistry } from './registry.mjs'
import { conclude, runVitest } from './run.mjs'

const { values, positionals: files } = commandLine(import.meta.url, {
  allowPositionals: true,
  options: {
    host: { type: 'boolean', default: false },
    packed: { type: 'boolean', default: false },
  },
})
const hostOnly = values.host
if (!values.packed) packAll({ hostOnly })

const registry = await startRegistry()
let sum = { passed: 0, failed: 1, skipped: 0 }
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
  const published = spawnSync(
    process.execPath,
    [join(root, 'scripts/package/publish.mjs'), ...options],
    {
      stdio: 'inherit',
    },
  )
  if (published.status === 0) {
    const env = {
      DIRTYRATE_PACKAGES: hostOnly ? hostPackagesFolder : packagesFolder,
      DIRTYRATE_PLATFORM_PACKAGE: host.name,
      DIRTYRATE_REGISTRY: registry.url,
    }
    sum = await runVitest(
      ['--config', join(root, '__test__/install/vitest.config.ts'), ...files],
      env,
    )
  }
} finally {
  registry.stop()
}
conclude(sum)
