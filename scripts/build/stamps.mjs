// Finds out which step of the set-up is out of date. The stamp of a step is the hash of its inputs,
// which is kept after the step has succeeded. So a checkout that touches files without changing
// them builds nothing again.

import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** All files under `path`, or the file itself; sorted. */
function filesOf(path) {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return []
  if (!stat.isDirectory()) return [path]
  return readdirSync(path)
    .sort()
    .flatMap(name => filesOf(join(path, name)))
}

/** The hash of the contents and names of `inputs` (files or folders), and of `extra`. */
export function fingerprint(inputs, extra = '') {
  const hash = createHash('sha256').update(extra)
  for (const file of inputs.flatMap(filesOf)) {
    const content = readFileSync(file)
    hash.update(`\0${file}\0${content.length}\0`).update(content)
  }
  return hash.digest('hex')
}

/**
 * Runs `step` unless `stamp` says that it succeeded with this `print` and all of `outputs` are
 * there.
 */
export function unlessCurrent({ stamp, print, outputs }, step) {
  const current = () => {
    try {
      return readFileSync(stamp, 'utf8') === print
    } catch {
      return false
    }
  }
  if (current() && outputs().every(path => statSync(path, { throwIfNoEntry: false }))) return false
  rmSync(stamp, { force: true })
  step()
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, print)
  return true
}
