// Gets the kernel of a rig with its modules: from a package of Debian, or built from Debian's
// source of Linux if Debian has no such kernel.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { cache, filesIn, output, Suite } from './debian.mjs'
import { modulesOf } from './modules.mjs'

/** What builds Linux, with gcc for its architecture. */
const TOOLS = ['make', 'gcc', 'flex', 'bison', 'bc']

/**
 * The image, and the modules in the order of loading: each its `name`, `bytes` and `parameters`.
 */
export function kernelOf(rig) {
  return rig.kernel.source === undefined ? packaged(rig) : { image: built(rig), modules: [] }
}

function packaged({ kernel, architecture, modules }) {
  const folder = new Suite(kernel.suite, architecture).unpacked(kernel.package)
  const [image] = filesIn(folder, /(^|\/)vmlinuz(-[^/]+)?$/)
  if (image === undefined) throw new Error(`${kernel.package} of ${kernel.suite} has no vmlinuz`)
  const parameters = new Map(
    modules.map(line => line.split(/ (.*)/)).map(([name, rest = '']) => [name, rest]),
  )
  const loaded = modulesOf(folder, [...parameters.keys()])
  const of = name => parameters.get(name.replaceAll('_', '-')) ?? ''
  return { image, modules: loaded.map(module => ({ ...module, parameters: of(module.name) })) }
}

/**
 * An image of `source`, a package of `suite`'s, with the `options` of Linux's and no others. Kept
 * until one of the three changes.
 */
function built({ kernel: { suite, source, options }, architecture, target }) {
  const digest = createHash('sha256').update(options.join()).digest('hex').slice(0, 12)
  const image = join(cache, `${suite}-${architecture}`, `${source}-${digest}`, 'Image')
  if (existsSync(image)) return image
  const folder = new Suite(suite, architecture).unpacked(source)
  const [archive] = filesIn(folder, /\/linux-source-[^/]+\.tar\.xz$/)
  if (archive === undefined) throw new Error(`${source} of ${suite} has no archive of Linux`)
  const compiler = `${target.replace('-unknown', '')}-`
  const absent = [...TOOLS, `${compiler}gcc`].filter(tool => spawnSync(tool, ['--version']).error)
  if (absent.length > 0)
    throw new Error(`building ${source} takes ${absent.join(', ')}, which this machine has not`)
  const partial = join(cache, `${source}-${digest}.partial`)
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(partial, { recursive: true })
  output('tar', ['-xJf', archive, '--strip-components=1', '-C', partial])
  const wanted = options.map(option => `CONFIG_${option}=y`)
  writeFileSync(join(partial, 'wanted'), `${wanted.join('\n')}\n`)
  const environment = {
    ...process.env,
    ARCH: architecture,
    CROSS_COMPILE: compiler,
    KCONFIG_ALLCONFIG: 'wanted',
  }
  const make = (...args) => output('make', ['-s', ...args], { cwd: partial, env: environment })
  make('allnoconfig')
  // An option whose own conditions do not hold is left out without a word.
  const config = new Set(readFileSync(join(partial, '.config'), 'utf8').split('\n'))
  const missing = wanted.filter(line => !config.has(line))
  if (missing.length > 0) throw new Error(`${source} cannot have ${missing.join(', ')}`)
  process.stdout.write(`building ${source}, which takes minutes, once\n`)
  make(`-j${availableParallelism()}`, 'Image')
  mkdirSync(join(image, '..'), { recursive: true })
  copyFileSync(join(partial, `arch/${architecture}/boot/Image`), `${image}.partial`)
  renameSync(`${image}.partial`, image)
  rmSync(partial, { recursive: true })
  return image
}
