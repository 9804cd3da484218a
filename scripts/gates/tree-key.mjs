// The key of a result: the hash of the clone's files without the documentation, so that a change of
// the documentation keeps the results.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { lstatSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

/** Whether a file holds words for readers only. */
export const isDocumentation = path => /\.md$|^docs\/|(^|\/)LICENSE[^/]*$/.test(path)

/**
 * The files of the clone that git tracks or would track, with what has been changed or deleted
 * since the last commit taken as it is.
 */
export function filesOf(root) {
  const { status, stdout, error } = spawnSync(
    'git',
    ['ls-files', '-z', '-co', '--exclude-standard'],
    {
      cwd: root,
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    },
  )
  if (status !== 0)
    throw new Error(`the files of ${root} are not known: git ls-files failed (${error ?? status})`)
  const names = [...new Set(stdout.split('\0').filter(Boolean))].sort()
  return names.filter(name => lstatSync(join(root, name), { throwIfNoEntry: false }))
}

/** The hash of names, contents and kinds of those files for which `wanted` is true. */
export function treeKey(root, wanted = path => !isDocumentation(path)) {
  const hash = createHash('sha256')
  for (const name of filesOf(root).filter(wanted)) {
    const path = join(root, name)
    const stat = lstatSync(path)
    const content = stat.isSymbolicLink() ? Buffer.from(readlinkSync(path)) : readFileSync(path)
    hash.update(`${name}\0${stat.mode & 0o170111}\0${content.length}\0`).update(content)
  }
  return hash.digest('hex').slice(0, 16)
}

/** The last commit, with a `+` behind it when files have changed since. */
export function commitOf(root) {
  const git = (...args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout.trim()
  return `${git('rev-parse', '--short=12', 'HEAD')}${git('status', '--porcelain') === '' ? '' : '+'}`
}
