// A plugin of rolldown and of vite.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Writes the licence of every package that went into the bundle to `fileName`, below a line
 * that begins with `what`; a package without one fails the build.
 */
export function thirdPartyLicences(fileName, what) {
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
      /** The packages of each text: many have the same one. */
      const packages = new Map()
      for (const folder of [...folders].sort()) {
        const { name, version, license } = JSON.parse(
          readFileSync(join(folder, 'package.json'), 'utf8'),
        )
        const file = ['LICENSE', 'LICENSE.md', 'LICENSE.txt', 'license']
          .map(f => join(folder, f))
          .find(existsSync)
        if (!file) throw new Error(`${name} is bundled but has no licence file`)
        const text = readFileSync(file, 'utf8').trim()
        const before = packages.get(text) ?? []
        packages.set(text, [...before, `${name} ${version} (${license})`])
      }
      const texts = Array.from(packages, ([text, names]) => `${names.join('\n')}\n\n${text}\n`)
      this.emitFile({
        type: 'asset',
        fileName,
        source: `${what} the following packages.\n\n${texts.join(`\n${'-'.repeat(72)}\n\n`)}`,
      })
    },
  }
}
