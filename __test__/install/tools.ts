/**
 * Programs of other people that users run this package with: other runtimes, bundlers, and
 * TypeScripts old and new.
 */

import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../fixtures/command.js'

const source = join(root, '__test__/install/tools/package.json')
const folder = join(root, 'target/install-tools')

/**
 * Installs what tools/package.json pins, below target/, unless that is there. Gives the folder of
 * its packages.
 */
export function installTools(): string {
  const manifest = join(folder, 'package.json')
  const packages = join(folder, 'node_modules')
  const pinned = readFileSync(source, 'utf8')
  const isCurrent =
    existsSync(join(packages, '.package-lock.json')) && readFileSync(manifest, 'utf8') === pinned
  if (!isCurrent) {
    mkdirSync(folder, { recursive: true })
    cpSync(source, manifest)
    const install = ['install', '--no-package-lock', '--no-audit', '--no-fund']
    const { status, stderr } = spawnSync('npm', install, { cwd: folder, encoding: 'utf8' })
    if (status !== 0)
      throw new Error(`the tools of the install tests were not installed: ${stderr}`)
  }
  return packages
}
