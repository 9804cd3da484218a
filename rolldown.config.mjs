// Three bundles: the CommonJS forms of the package and of its prediction, and the command with its
// libraries inside.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'rolldown'

/**
 * Writes the licence of every package that went into the bundle to THIRD-PARTY.txt; a package
 * without one fails the build.
 */
function thirdPartyLicences() {
  return {
    name: 'third-party-licences',
    generateBundle(_options, bundle) {
      const folders = new Set()
      for (const chunk of Object.values(bundle)) {
        for (const id of chunk.moduleIds ?? []) {
          const match = /^(.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+)[\\/]/.exec(id)
          if (match) folders.add(match[1])
        }
      }
      const texts = [...folders].sort().map(folder => {
        const { name, version, license } = JSON.parse(
          readFileSync(join(folder, 'package.json'), 'utf8'),
        )
        const file = ['LICENSE', 'LICENSE.md', 'LICENSE.txt', 'license']
          .map(f => join(folder, f))
          .find(existsSync)
        if (!file) throw new Error(`${name} is bundled but has no licence file`)
        return `${name} ${version} (${license})\n\n${readFileSync(file, 'utf8').trim()}\n`
      })
      this.emitFile({
        type: 'asset',
        fileName: 'THIRD-PARTY.txt',
        source: `dist/cli.js contains the following packages.\n\n${texts.join(`\n${'-'.repeat(72)}\n\n`)}`,
      })
    },
  }
}

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
    plugins: [thirdPartyLicences()],
    output: {
      dir: join(root, 'dist'),
      entryFileNames: 'cli.js',
      format: 'esm',
      codeSplitting: false,
    },
  },
])
