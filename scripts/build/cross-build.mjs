// Builds the binaries that are published, on any Linux with Rust, for both architectures. zig links
// them against glibc 2.17.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { root } from '../root.mjs'
import { pythonTools } from '../tools/install.mjs'
import { GLIBC_FLOOR } from './check-binary.mjs'

/** Both come from PyPI, into a virtual environment below target/. */
const TOOLS = ['cargo-zigbuild==0.24.0', 'ziglang==0.17.1']

function run(command, args, env = process.env) {
  const { status, signal, error } = spawnSync(command, args, {
    cwd: root,
    env,
    stdio: ['ignore', 2, 2],
  })
  if (status === 0) return
  const how = error ? `could not be run (${error.message})` : `ended with ${signal ?? status}`
  throw new Error(`${command} ${args.join(' ')} ${how}`)
}

/** The environment in which cargo finds cargo-zigbuild, and that finds zig. */
function zigEnvironment() {
  const programs = pythonTools(TOOLS, 'target/zig')
  // Published binaries have no symbols. A panic names its place without them.
  return {
    ...process.env,
    CARGO_PROFILE_RELEASE_STRIP: 'symbols',
    PATH: `${programs}:${process.env.PATH}`,
  }
}

/**
 * How a command gets what builds for `target`: the folder that it builds in, and the command that
 * finds its toolchain.
 */
function crossing(target) {
  // A build for arm64 may use another compiler. It has its own folder, so that the two do not make
  // each other build everything again.
  const arm = target.startsWith('aarch64')
  const toolchain = arm ? 'source scripts/build/aarch64-toolchain.sh; ' : ''
  return {
    folder: arm ? 'target/aarch64' : 'target',
    command: args => ['bash', ['-euc', `${toolchain}exec "$@"`, 'bash', ...args]],
  }
}

/**
 * Builds test programs for `target`, without symbols, and returns what cargo says with its
 * `options`.
 */
export function crossTests(target, options) {
  const { folder, command } = crossing(target)
  const build = ['cargo-zigbuild', 'test', '--target', target, '--target-dir', folder, ...options]
  // Optimised, but with assertions, because an emulated CPU runs them.
  const profile = { OPT_LEVEL: '2', DEBUG: 'false', STRIP: 'symbols' }
  const settings = Object.entries(profile).map(([name, value]) => [
    `CARGO_PROFILE_DEV_${name}`,
    value,
  ])
  const env = { ...zigEnvironment(), ...Object.fromEntries(settings) }
  const [shell, args] = command(build)
  const { status, signal, error, stdout } = spawnSync(shell, args, {
    cwd: root,
    env,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (status !== 0)
    throw new Error(`the tests could not be built: ${error?.message ?? signal ?? status}`)
  return stdout
}

/** The command that compiles C for `target`, to run with the C library of a Debian 12 or newer. */
export function cCompiler(target) {
  const python = join(pythonTools(TOOLS, 'target/zig'), 'python3')
  return [python, '-m', 'ziglang', 'cc', '-target', `${target.replace('-unknown', '')}.2.36`]
}

/**
 * Type-checks the workspace and its tests for `target`. Throws where they are wrong, or cannot be
 * checked.
 */
export function crossCheck(target) {
  const { folder, command } = crossing(target)
  const check = ['cargo-zigbuild', 'check', '--target', target, '--target-dir', folder]
  run(...command([...check, '--locked', '--workspace', '--tests']), zigEnvironment())
}

/**
 * Compiles the library of the crate `name` for `target`, without linking. That assembles what
 * assembly it has, which a check of the types does not. Throws where the assembler refuses it.
 */
export function crossAssemble(target, name) {
  const { folder, command } = crossing(target)
  const build = ['cargo-zigbuild', 'build', '--target', target, '--target-dir', folder]
  run(...command([...build, '--locked', '--package', name, '--lib']), zigEnvironment())
}

/** Builds a platform's binary and returns its path. Throws what it could not be built for. */
export function crossBuild(platform) {
  const { folder, command } = crossing(platform.target)
  const output = join(root, 'target/prebuilt')
  const build = [
    ...['npx', '--no-install', 'napi', 'build', '--release', '--platform', '--cross-compile'],
    ...['--target', `${platform.target}.${GLIBC_FLOOR}`],
    ...[
      '--manifest-path',
      'crates/dirtyrate-node/Cargo.toml',
      '--package-json-path',
      'package.json',
    ],
    ...['--output-dir', output, '--no-js', '--dts', 'binding.d.cts'],
    ...['--target-dir', folder, '--', '--locked'],
  ]
  run(...command(build), zigEnvironment())
  return join(output, platform.file)
}
