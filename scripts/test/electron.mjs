// npm run test:electron: runs the tests of the facade with a binding that is refused external
// buffers, as in Electron. (Electron's binary is not in the registries, so these tests run in
// Node.)
//
//   node scripts/test/electron.mjs [TEST FILE…]     all by default

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { giveUp } from '../build/prerequisites.mjs'
import { root } from '../root.mjs'
import { setUp } from '../setup.mjs'
import { conclude, runVitest } from './run.mjs'

setUp()
const folder = join(root, 'target/electron')
const library = join(folder, 'dirtyrate.node')
const build = [
  ...['napi', 'build', '--release', '--features', 'refuse-external-buffers'],
  ...['--manifest-path', 'crates/dirtyrate-node/Cargo.toml', '--package-json-path', 'package.json'],
  ...['--output-dir', folder, '--no-js', '--dts', 'binding.d.cts', '--', '--locked'],
]
const built = spawnSync('npx', ['--no-install', ...build], { cwd: root, stdio: ['ignore', 2, 2] })
if (built.status !== 0) giveUp('the binding was not built.', 1)

// If the linker had left a call to Node's own function, nothing would be refused, and every test
// would pass.
const symbols = spawnSync('readelf', ['-W', '--dyn-syms', library], { encoding: 'utf8' })
if (symbols.status !== 0 || /UND napi_create_external_(array)?buffer\b/.test(symbols.stdout)) {
  giveUp(`${library} still asks Node for external buffers.`, 1)
}

conclude(await runVitest(process.argv.slice(2), { DIRTYRATE_TEST_BINDING: library }))
