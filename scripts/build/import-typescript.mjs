// Imports a module of ts/ into a script, bundled by rolldown. Node 20 cannot read TypeScript
// itself.

import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { rolldown } from 'rolldown'
import { root } from '../root.mjs'

/** What the module `input` exports, such as `ts/targets/open.ts`. */
export async function importTypeScript(input) {
  const folder = join(root, 'target/import-typescript')
  const file = `${basename(input, '.ts')}.mjs`
  const bundle = await rolldown({ input: join(root, input), platform: 'node', logLevel: 'silent' })
  await bundle.write({ dir: folder, entryFileNames: file, format: 'esm', codeSplitting: false })
  await bundle.close()
  return import(pathToFileURL(join(folder, file)).href)
}
