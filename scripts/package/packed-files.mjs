// The golden list of the files of each package, so that a file that is added or left out by
// accident is noticed.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../root.mjs'

const folder = join(root, '__test__/install/golden')
const listOf = name => join(folder, `${name}.txt`)

/** The differences between a package and its list, one line each. */
export function differencesFromGolden({ name, files }) {
  const list = listOf(name)
  const golden = new Set(existsSync(list) ? readFileSync(list, 'utf8').trim().split('\n') : [])
  const packed = new Set(files)
  return [
    ...files.filter(file => !golden.has(file)).map(file => `${name}: + ${file}`),
    ...[...golden].filter(file => !packed.has(file)).map(file => `${name}: - ${file}`),
  ]
}

/** Makes the files of a package its list. */
export function writeGolden({ name, files }) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(listOf(name), `${files.join('\n')}\n`)
}
