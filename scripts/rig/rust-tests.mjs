// The test programs of the core and of its machine, built here and run in the rig.

import { mkdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { crossTests } from '../build/cross-build.mjs'
import { root } from '../root.mjs'
import { output } from './debian.mjs'

/** The test programs of the crates: `name` and `path`, without their debugging information. */
function programs({ target, strip }) {
  const native = output('rustc', ['-vV']).includes(`host: ${target}\n`)
  const options = [
    '--no-run',
    '--locked',
    '--package',
    'dirtyrate',
    '--package',
    'dirtyrate-machine',
    '--tests',
    '--message-format=json-render-diagnostics',
  ]
  const messages = native
    ? output('cargo', ['test', ...options], { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
    : crossTests(target, options)
  const folder = join(root, 'target/rig', target)
  mkdirSync(folder, { recursive: true })
  const built = messages.split('\n').flatMap(line => {
    const { executable, profile, target: of } = line === '' ? {} : JSON.parse(line)
    return executable && profile.test ? [{ name: of.name, executable }] : []
  })
  return built.map(({ name, executable }) => {
    const path = join(folder, basename(executable))
    // Built for another architecture it has none.
    if (!native) return { name, path: executable }
    const { mtimeMs } = statSync(executable)
    const stripped = statSync(path, { throwIfNoEntry: false })
    if (!stripped || stripped.mtimeMs < mtimeMs) output(strip, ['-o', path, executable])
    return { name, path }
  })
}

/** How long one program may take. */
const SECONDS = 2400

/** What the names of tests in Node end with. */
const OF_NODE = /\.(test|rig)$/

/**
 * The jobs of the rig, and what they need in the initrd. Nothing is built if `names` are all of
 * tests in Node.
 */
export function rustTests(rig, { names, only, env }) {
  const isAsked = names.length === 0 || names.some(name => !OF_NODE.test(name))
  const chosen = isAsked ? programs(rig).filter(({ name }) => only(name)) : []
  const jobs = chosen.map(({ name }) => ({
    name,
    seconds: SECONDS,
    folder: '/tmp',
    command: ['env', ...env, `/rig/tests/${name}`],
  }))
  const fill = cpio => {
    for (const { name, path } of chosen) cpio.copy(`rig/tests/${name}`, path)
  }
  return { jobs, fill }
}
