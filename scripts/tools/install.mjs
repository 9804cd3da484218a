// Programs that the gates run and that are no devDependencies of the package. Each is installed
// below target/ when a gate first needs it, and again when its version changes.

import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fingerprint, unlessCurrent } from '../build/stamps.mjs'
import { root } from '../root.mjs'

/** Runs an installer with its output shown. Throws what was not installed, and why. */
function run(what, command, args, options) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    ...options,
  })
  if (status === 0) return
  const why =
    error === undefined ? `${command} ended with ${status}` : `${command} could not be run`
  throw new Error(`${what} could not be installed: ${why}`)
}

/**
 * Installs the packages of the package.json in the folder `from` into the folder `into`, and
 * returns the path of its node_modules.
 */
export function npmTools(from, into, options = []) {
  const manifest = join(root, from, 'package.json')
  const folder = join(root, into)
  const modules = join(folder, 'node_modules')
  const step = {
    stamp: join(folder, 'stamp'),
    print: fingerprint([manifest]),
    outputs: () => [modules],
  }
  unlessCurrent(step, () => {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    copyFileSync(manifest, join(folder, 'package.json'))
    const args = ['install', '--no-package-lock', '--no-audit', '--no-fund', ...options]
    run(`what ${from}/package.json lists`, 'npm', args, { cwd: folder })
  })
  return modules
}

/**
 * Installs packages of PyPI into a virtual environment in the folder `into`, and returns the path
 * of its programs.
 */
export function pythonTools(packages, into) {
  const folder = join(root, into)
  const programs = join(folder, 'bin')
  const print = fingerprint([], packages.join(' '))
  unlessCurrent({ stamp: join(folder, 'stamp'), print, outputs: () => [programs] }, () => {
    const what = packages.join(' and ')
    rmSync(folder, { recursive: true, force: true })
    run(what, 'python3', ['-m', 'venv', folder])
    run(what, join(programs, 'pip'), [
      'install',
      '--quiet',
      '--disable-pip-version-check',
      ...packages,
    ])
  })
  return programs
}

/**
 * Builds a program of a Go module, such as `example.org/cmd/name@v1.2.3`, and returns the path of
 * the folder that it is in.
 */
export function goTool(module) {
  const name = module.replace(/@.*$/, '').split('/').at(-1)
  const folder = join(root, 'target/tools/go', name)
  const print = fingerprint([], module)
  unlessCurrent(
    { stamp: join(folder, 'stamp'), print, outputs: () => [join(folder, name)] },
    () => {
      mkdirSync(folder, { recursive: true })
      run(module, 'go', ['install', module], { env: { ...process.env, GOBIN: folder } })
    },
  )
  return folder
}

/**
 * Compiles a program of crates.io, and returns the path of the folder that it is in. Cargo itself
 * knows whether this version is there.
 */
export function cargoTool(name, version) {
  const folder = join(root, 'target/tools')
  const options = ['--quiet', '--locked', '--version', version, '--root', folder]
  const { CARGO_TARGET_DIR: _, ...env } = process.env
  run(`${name} ${version}`, 'cargo', ['install', ...options, name], { env })
  return join(folder, 'bin')
}
