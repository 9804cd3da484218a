// The copy of the clone in which the mutation gate breaks things, and how a test is built and run
// there.

import { spawn, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { filesOf } from '../gates/tree-key.mjs'
import { testOf } from './breaks.mjs'

/**
 * Far more than the slowest of these tests takes: a break that makes one hang is noticed by this.
 */
const TIMEOUT_MS = 90_000
/** vitest starts Node, and ends a test of its own accord after 60 s. */
const VITEST_TIMEOUT_MS = 180_000
/** Loom's models take half a minute of a quiet machine. */
const LOOM_TIMEOUT_MS = 300_000

/**
 * Makes the copy anew. `folder` also holds what is built of it, apart from the clone's own target.
 */
export function copyTree(root, folder) {
  const tree = join(folder, 'tree')
  rmSync(tree, { recursive: true, force: true })
  for (const name of filesOf(root)) {
    mkdirSync(dirname(join(tree, name)), { recursive: true })
    cpSync(join(root, name), join(tree, name), { verbatimSymlinks: true })
  }
  linkPackages(root, tree)

  const env = {
    ...process.env,
    CARGO_TARGET_DIR: join(folder, 'build'),
    RUST_BACKTRACE: '0',
    DIRTYRATE_REQUIRE_KVM: '1',
  }
  // The long forms of the tests would run once for each break.
  delete env.DIRTYRATE_TEST_FULL
  const loomEnv = {
    ...env,
    CARGO_TARGET_DIR: join(folder, 'loom'),
    RUSTFLAGS: '--cfg loom',
    LOOM_MAX_PREEMPTIONS: '2',
  }
  /**
   * The text of the break whose code the native binding in the copy was built of; undefined while
   * the binding is the clone's own.
   */
  let built

  /** Builds the native binding of the copy from the Rust code in the copy, if it is out of date. */
  function bringNative(broken) {
    const wanted = broken?.file.startsWith('crates/') ? JSON.stringify(broken) : undefined
    if (wanted === built) return undefined
    if (wanted === undefined) {
      for (const name of readdirSync(join(root, 'native')))
        copyFileSync(join(root, 'native', name), join(tree, 'native', name))
    } else {
      const napi = join(root, 'node_modules/.bin/napi')
      const args = ['build', '--platform', '--manifest-path', 'crates/dirtyrate-node/Cargo.toml']
      args.push(
        '--package-json-path',
        'package.json',
        '-o',
        'native',
        '--no-js',
        '--dts',
        'binding.d.cts',
      )
      const { status, stderr } = spawnSync(napi, [...args, '--', '--locked'], {
        cwd: tree,
        env,
        encoding: 'utf8',
      })
      if (status !== 0) return stderr
    }
    built = wanted
    return undefined
  }
  for (const name of readdirSync(join(root, 'native')))
    copyFileSync(join(root, 'native', name), join(tree, 'native', name))

  /** Builds a test of cargo. Returns its executable, or the compiler's errors. */
  function buildCargo({ crate, name, inside, loom }) {
    const args = [
      'test',
      '--locked',
      '--release',
      '-p',
      crate,
      ...(inside ? ['--lib'] : ['--test', name]),
    ]
    const { status, stdout, stderr } = spawnSync(
      'cargo',
      [...args, '--no-run', '--message-format=json'],
      {
        cwd: tree,
        env: loom ? loomEnv : env,
        encoding: 'utf8',
        maxBuffer: 1 << 28,
      },
    )
    if (status !== 0) return { errors: stderr }
    const artifacts = stdout
      .split('\n')
      .filter(line => line.startsWith('{'))
      .map(line => JSON.parse(line))
    const target = inside ? crate.replaceAll('-', '_') : name
    return {
      executable: artifacts.findLast(one => one.executable && one.target.name === target)
        .executable,
    }
  }

  /**
   * Builds the native binding and the JavaScript of the copy; what the compilers said if they
   * refuse.
   */
  function buildPackage(broken) {
    const errors = bringNative(broken)
    if (errors !== undefined) return { errors }
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['scripts/build/typescript.mjs'],
      {
        cwd: tree,
        env,
        encoding: 'utf8',
      },
    )
    return status === 0 ? {} : { errors: stdout + stderr }
  }

  return {
    /**
     * Runs `test` with `broken` in the copy, or with nothing broken: `{ passed, ended, output }`,
     * or `{ errors }` if it does not build.
     */
    async run(test, broken) {
      const how = testOf(root, { test })
      const path = broken && join(tree, broken.file)
      const whole = path && readFileSync(path, 'utf8')
      if (broken)
        writeFileSync(
          path,
          whole.replace(broken.find, () => broken.replace),
        )
      try {
        const { executable, errors } =
          how.runner === 'cargo' ? buildCargo(how) : buildPackage(broken)
        if (errors !== undefined) return { errors }
        if (how.runner === 'vitest') {
          const args = [join(tree, 'node_modules/vitest/vitest.mjs'), 'run', how.file, '--bail=1']
          if (how.pattern !== undefined) args.push('-t', escaped(how.pattern))
          return await runToEnd(process.execPath, args, { cwd: tree, env }, VITEST_TIMEOUT_MS)
        }
        // The test is run directly and not by cargo, so that the time limit kills the test itself.
        const args = how.inside ? [how.name] : []
        const options = { cwd: join(tree, 'crates', how.crate), env: how.loom ? loomEnv : env }
        return await runToEnd(executable, args, options, how.loom ? LOOM_TIMEOUT_MS : TIMEOUT_MS)
      } finally {
        if (broken) writeFileSync(path, whole)
      }
    },
  }
}

const escaped = text => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

/**
 * node_modules of the copy: each package is a link to the clone's, without the stamps of what the
 * clone has built.
 */
function linkPackages(root, tree) {
  const to = join(tree, 'node_modules')
  mkdirSync(to)
  for (const name of readdirSync(join(root, 'node_modules')))
    if (!['.dirtyrate', '.vite', '.cache'].includes(name))
      symlinkSync(join(root, 'node_modules', name), join(to, name))
}

/**
 * Runs a program in a process group of its own, which is killed as a whole at the time limit: a
 * test has children too.
 */
function runToEnd(command, args, options, timeoutMs) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      ...options,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    const kill = () => {
      try {
        process.kill(-child.pid, 'SIGKILL')
      } catch {
        // It has ended already.
      }
    }
    let late = false
    const timer = setTimeout(() => {
      late = true
      kill()
    }, timeoutMs)
    process.once('exit', kill)
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', text => {
        output += text
      })
    child.on('error', reject)
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      process.off('exit', kill)
      kill()
      resolve({
        passed: status === 0,
        ended: late ? 'at the time limit' : (signal ?? undefined),
        output,
      })
    })
  })
}
