// Three bundles: the CommonJS forms of the package and of its prediction, and the command with its
// libraries inside.

import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'rolldown'
import { thirdPartyLicences } from './scripts/build/third-party-licences.mjs'

const root = dirname(fileURLToPath(import.meta.url))

export default defineConfig([
  {
    input: join(root, 'ts/index.ts'),
    platform: 'node',
    output: { file: join(root, 'dist/index.cjs'), format: 'cjs', exports: 'named' },
  },
  {
    input: join(root, 'ts/prediction/index.ts'),
    // It runs in a browser too.
    platform: 'neutral',
    output: { file: join(root, 'dist/prediction/index.cjs'), format: 'cjs', exports: 'named' },
  },
  {
    input: join(root, 'ts/cli/main.ts'),
    platform: 'node',
    plugins: [thirdPartyLicences('dist/cli.js contains')],
    output: {
      dir: join(root, 'dist'),
      entryFileNames: 'cli.js',
      format: 'esm',
      codeSplitting: false,
    },
  },
])
