// Finds kernel modules and the modules on which they depend, in the order of loading.

import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { filesIn, output } from './debian.mjs'

/** A module's contents: newer kernels have them compressed. */
function contents(path) {
  return path.endsWith('.xz')
    ? output('xz', ['--decompress', '--stdout', path], { encoding: 'buffer' })
    : readFileSync(path)
}

/** What names have in common whose `-` is an `_` elsewhere. */
const canonical = name => name.replaceAll('-', '_')

const nameOf = path => canonical(basename(path).replace(/\.ko(\.xz)?$/, ''))

/**
 * The modules of `wanted` and what they depend on: `name` and `bytes`, dependencies first. What is
 * built in is left out.
 */
export function modulesOf(folder, wanted) {
  const files = new Map(filesIn(folder, /\.ko(\.xz)?$/).map(path => [nameOf(path), path]))
  const [list] = filesIn(folder, /\/modules\.builtin$/)
  const builtIn = new Set(readFileSync(list, 'utf8').trim().split('\n').map(nameOf))
  const modules = new Map()
  const visit = name => {
    if (modules.has(name) || builtIn.has(name)) return
    const path = files.get(name)
    if (path === undefined) throw new Error(`this kernel has no module ${name}`)
    const bytes = contents(path)
    const depends = /\0depends=([^\0]*)\0/.exec(bytes.toString('latin1'))?.[1] ?? ''
    depends.split(',').filter(Boolean).map(canonical).forEach(visit)
    modules.set(name, bytes)
  }
  wanted.map(canonical).forEach(visit)
  return [...modules].map(([name, bytes]) => ({ name, bytes }))
}
