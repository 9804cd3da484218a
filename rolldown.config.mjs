// Four bundles: the CommonJS forms of the package and of its prediction, the command with its
// libraries inside, and what pushes metrics, which few want and which is large.

import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'rolldown'
import { thirdPartyLicences } from './scripts/build/third-party-licences.mjs'

const root = dirname(fileURLToPath(import.meta.url))

/** Leaves the module that pushes metrics out of the command, which loads its bundle instead. */
const otlpApart = {
  name: 'otlp-apart',
  resolveId(source) {
    return source.endsWith('/metrics/otlp/push.js') ? { id: './otlp.js', external: true } : null
  },
}

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
    plugins: [otlpApart, thirdPartyLicences('THIRD-PARTY.txt', 'dist/cli.js contains')],
    output: {
      dir: join(root, 'dist'),
      entryFileNames: 'cli.js',
      format: 'esm',
      codeSplitting: false,
    },
  },
  {
    input: join(root, 'ts/metrics/otlp/push.ts'),
    platform: 'node',
    treeshake: { moduleSideEffects: false },
    plugins: [thirdPartyLicences('THIRD-PARTY-OTLP.txt', 'dist/otlp.js contains')],
    output: {
      dir: join(root, 'dist'),
      entryFileNames: 'otlp.js',
      format: 'esm',
      minify: true,
      codeSplitting: false,
    },
  },
])
