// Keeps the results of long runs, so that a run that was interrupted goes on where it stood. Each
// result is a small file, which is written at once and whole, so that parallel processes, or a
// process that is killed, leave no half of it.

import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'

/**
 * Where results are kept: outside of the clone, so that clones of the same files share them and
 * `cargo clean` leaves them.
 */
export const resultsFolder = () =>
  process.env.DIRTYRATE_RESULTS ??
  join(process.env.XDG_STATE_HOME || join(homedir(), '.local/state'), 'dirtyrate/results')

/** A file's name that a reader recognises, and that no other result has. */
const fileName = name =>
  `${name.replace(/[^\w.-]+/g, '-').slice(0, 80)}-${createHash('sha256').update(name).digest('hex').slice(0, 8)}`

/** The results of one state of the code, whose hash is `key`. */
export function openResults(key, folder = resultsFolder()) {
  const fileOf = (name, kind = 'json') => join(folder, key, `${fileName(name)}.${kind}`)
  return {
    /** The result of that name, or undefined. A damaged file is none. */
    get(name) {
      try {
        const result = JSON.parse(readFileSync(fileOf(name), 'utf8'))
        return result.name === name ? result : undefined
      } catch {
        return undefined
      }
    },
    put(name, result) {
      const file = fileOf(name)
      mkdirSync(dirname(file), { recursive: true })
      const half = `${file}.${process.pid}`
      writeFileSync(half, `${JSON.stringify({ name, ...result })}\n`)
      renameSync(half, file)
    },
    remove: name => rmSync(fileOf(name), { force: true }),
    /** Where the output of that name goes. */
    log: name => fileOf(name, 'log'),
  }
}
