// Imports a module of ts/ into a script, bundled by rolldown. Node 20 cannot read TypeScript
// itself.

import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from '../root.mjs'

/**
 * rolldown's. It has a binding of napi-rs as this package has, and both take the one that this
 * variable names for their own.
 */
async function loadRolldown() {
  const { NAPI_RS_NATIVE_LIBRARY_PATH: ours } = process.env
  delete process.env.NAPI_RS_NATIVE_LIBRARY_PATH
  try {
    return (await import('rolldown')).rolldown
  } finally {
    if (ours !== undefined) process.env.NAPI_RS_NATIVE_LIBRARY_PATH = ours
  }
}

/** What the module `input` exports, such as `ts/targets/open.ts`. */
export async function importTypeScript(input) {
  const folder = join(root, 'target/import-typescript')
  const file = `${basename(input, '.ts')}.mjs`
  const rolldown = await loadRolldown()
  const bundle = await rolldown({ input: join(root, input), platform: 'node', logLevel: 'silent' })
  await bundle.write({ dir: folder, entryFileNames: file, format: 'esm', codeSplitting: false })
  await bundle.close()
  return import(pathToFileURL(join(folder, file)).href)
}
