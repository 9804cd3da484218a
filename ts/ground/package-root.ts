/** Finds the folder of the package from one of its files. */

import { basename, dirname } from 'node:path'

/**
 * The folder of package.json, for `file`: a module of this folder in ts/ or dist/, or a bundle in
 * dist/ that has such a module inside.
 */
export function packageRoot(file: string): string {
  const folder = dirname(file)
  const isModule = basename(folder) === 'ground'
  return dirname(isModule ? dirname(folder) : folder)
}
