// dist/page/: the page of `dirtyrate serve`, by vite, with the licences of what it contains. Its
// files have fixed names, so that the server has a fixed list of them.

import { join } from 'node:path'
import { build } from 'vite'
import { root } from '../root.mjs'
import { thirdPartyLicences } from './third-party-licences.mjs'

export async function buildPage() {
  const worker = { entryFileNames: 'worker.js', codeSplitting: false }
  await build({
    root: join(root, 'page'),
    configFile: false,
    base: './',
    logLevel: 'warn',
    clearScreen: false,
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
    plugins: [thirdPartyLicences('THIRD-PARTY.txt', 'The page, and its worker, contain')],
    worker: { format: 'es', rolldownOptions: { output: worker } },
    build: {
      outDir: join(root, 'dist/page'),
      emptyOutDir: true,
      target: 'es2022',
      modulePreload: false,
      assetsInlineLimit: 0,
      reportCompressedSize: false,
      rolldownOptions: {
        checks: { pluginTimings: false },
        output: {
          entryFileNames: 'page.js',
          assetFileNames: ({ names }) =>
            names[0]?.endsWith('.css') ? 'page.css' : '[name][extname]',
          codeSplitting: false,
        },
      },
    },
  })
}
