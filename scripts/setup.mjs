// Sets a clone up: installs the packages, and builds the native binding and the JavaScript. Only
// steps whose inputs have changed are done again.

import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { giveUp, missingToBuild } from './build/prerequisites.mjs'
import { fingerprint, unlessCurrent } from './build/stamps.mjs'
import { isMain } from './main-module.mjs'
import { root } from './root.mjs'

const at = (...parts) => join(root, ...parts)

/** Runs a command to its end, its output shown; a failure ends the process with `why`. */
function run(why, command, args) {
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] })
  if (status === 0) return
  giveUp(
    `${why}: ${command} ${args.join(' ')} ${error ? `could not be run (${error.message})` : `ended with ${signal ?? status}`}.`,
    1,
  )
}

const say = text => process.stderr.write(`set-up: ${text}\n`)

function installPackages() {
  const print = fingerprint([at('package-lock.json'), at('.npmrc')], process.versions.modules)
  const outputs = () => [at('node_modules/.package-lock.json')]
  unlessCurrent({ stamp: at('node_modules/.dirtyrate/packages'), print, outputs }, () => {
    say('installing the packages of package-lock.json')
    run('the packages were not installed', 'npm', ['ci', '--no-audit', '--no-fund'])
  })
}

function buildNative() {
  const crates = readdirSync(at('crates')).flatMap(crate =>
    ['Cargo.toml', 'build.rs', 'src'].map(part => at('crates', crate, part)),
  )
  const inputs = [at('Cargo.toml'), at('Cargo.lock'), at('package.json'), at('.cargo'), ...crates]
  const print = fingerprint(inputs, `${process.platform}-${process.arch}`)
  const binary = () => readdirSync(at('native')).filter(name => name.endsWith('.node'))
  const outputs = () => [at('native', binary()[0] ?? 'no binary'), at('native/binding.d.cts')]
  unlessCurrent({ stamp: at('node_modules/.dirtyrate/native'), print, outputs }, () => {
    say('building the native binding (about a minute the first time)')
    run('the native binding was not built', 'npm', ['run', '--silent', 'build:native'])
  })
}

function buildJavaScript() {
  const sources = [
    'ts',
    'page',
    'package.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'rolldown.config.mjs',
    'scripts/build/typescript.mjs',
    'scripts/build/manual.mjs',
    'scripts/build/page.mjs',
    'scripts/build/third-party-licences.mjs',
  ]
  const print = fingerprint([
    ...sources.map(name => at(name)),
    at('native/binding.d.cts'),
    at('package-lock.json'),
  ])
  const outputs = () =>
    ['index.js', 'index.cjs', 'index.d.ts', 'index.d.cts', 'cli.js', 'page/index.html'].map(name =>
      at('dist', name),
    )
  unlessCurrent({ stamp: at('node_modules/.dirtyrate/javascript'), print, outputs }, () => {
    say('building the JavaScript')
    run('the JavaScript was not built', process.execPath, [at('scripts/build/typescript.mjs')])
  })
}

/** Brings everything up to date, or ends the process with a list of what is missing. */
export function setUp() {
  const missing = missingToBuild(pathToFileURL(`${root}/`))
  if (missing.length > 0) giveUp(missing.join('\ndirtyrate: '))
  installPackages()
  buildNative()
  buildJavaScript()
}

if (isMain(import.meta.url)) setUp()
