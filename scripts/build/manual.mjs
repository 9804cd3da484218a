// dist/man: the manual pages, which ts/cli/manual.ts makes from the commands' definitions.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { rolldown } from 'rolldown'
import { root } from '../root.mjs'

/** Writes the pages into `dist`. */
export async function buildManual() {
  const folder = join(root, 'dist/man')
  const made = join(root, 'target/manual')
  const bundle = await rolldown({
    input: join(root, 'ts/cli/manual.ts'),
    platform: 'node',
    logLevel: 'silent',
  })
  await bundle.write({
    dir: made,
    entryFileNames: 'manual.mjs',
    format: 'esm',
    codeSplitting: false,
  })
  await bundle.close()
  const { manualPages } = await import(pathToFileURL(join(made, 'manual.mjs')).href)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const { file, text } of manualPages()) writeFileSync(join(folder, file), text)
}
