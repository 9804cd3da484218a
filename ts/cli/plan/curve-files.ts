/** The files of curves that a plan is made of, and how it calls their VMs. */

import { readdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { argumentError } from '../../ground/errors.js'
import { unreadable } from '../named-file.js'
import { type Domain, domainOfTarget } from './domain.js'

const ENDING = '.json'

/** A file, or the files of a folder whose names end in .json, in the order of their names. */
export async function curveFiles(given: readonly string[]): Promise<string[]> {
  const lists = await Promise.all(given.map(filesAt))
  return lists.flat()
}

async function filesAt(path: string): Promise<string[]> {
  if (path === '') throw argumentError('curve: it is empty', 'Give the path of a file.')
  let names: string[]
  try {
    if (!(await stat(path)).isDirectory()) return [path]
    names = await readdir(path)
  } catch (error) {
    throw unreadable(path, 'curve', error as NodeJS.ErrnoException, 'a file or a folder')
  }
  const files = names.filter(name => name.endsWith(ENDING)).sort()
  if (files.length === 0) {
    throw argumentError(
      `curve: '${path}' has no files whose names end in ${ENDING}`,
      'Give a folder with what dirtyrate curve --save has written.',
    )
  }
  return files.map(name => join(path, name))
}

/**
 * The domain of a curve: the one of its target, if this is libvirt's. A curve of another target
 * does not know it, and is called like its file.
 */
export function domainOf(document: object, file: string): Domain {
  const { target } = document as { target?: unknown }
  const domain = typeof target === 'string' ? domainOfTarget(target) : undefined
  return domain ?? { name: basename(file, ENDING) }
}
