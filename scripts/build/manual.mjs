// dist/man: the manual pages, which ts/cli/manual.ts makes from the commands' definitions.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../root.mjs'
import { importTypeScript } from './import-typescript.mjs'

/** Writes the pages into `dist`. */
export async function buildManual() {
  const folder = join(root, 'dist/man')
  const { manualPages } = await importTypeScript('ts/cli/manual.ts')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const { file, text } of manualPages()) writeFileSync(join(folder, file), text)
}
