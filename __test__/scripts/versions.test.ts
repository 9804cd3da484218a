/** The version is in several files, and is one. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { native } from '../../ts/ground/native.js'
import { version } from '../../ts/ground/version.js'
import { root } from '../fixtures/command.js'

const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const { version: packaged }: { version: string } = JSON.parse(read('package.json'))

/** The version of a package in one of cargo's locks. */
const locked = (lock: string, name: string): string | undefined =>
  new RegExp(`^name = "${name}"\\nversion = "(.*)"$`, 'm').exec(read(lock))?.[1]

it.each([
  ['package-lock.json', JSON.parse(read('package-lock.json')).version],
  ['Cargo.toml', /^version = "(.*)"$/m.exec(read('Cargo.toml'))?.[1]],
  ['Cargo.lock', locked('Cargo.lock', 'dirtyrate')],
  ['Cargo.lock, of the binding', locked('Cargo.lock', 'dirtyrate-node')],
  ['the lock of the fuzz targets', locked('fuzz/Cargo.lock', 'dirtyrate')],
  [
    'the example',
    JSON.parse(read('examples/electron/package.json')).dependencies.dirtyrate.replace('^', ''),
  ],
  ['the facade', version],
  ['the binary', native().VERSION],
])('%s has that of package.json', (_, found) => {
  expect(found).toBe(packaged)
})
