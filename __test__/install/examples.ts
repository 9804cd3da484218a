/** The examples that are one file each, and what each says that it prints. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../fixtures/command.js'

const folder = join(root, 'examples')

export interface Example {
  name: string
  source: string
  /** The text in its comment behind the command that runs it. */
  prints: string
}

function exampleOf(name: string): Example {
  const source = readFileSync(join(folder, name), 'utf8')
  const [, prints = ''] = /^ \* {5}\$ node examples\/.*\n((?: \* {5}.*\n)+)/m.exec(source) ?? []
  return { name, source, prints: prints.replaceAll(/^ \* {5}/gm, '') }
}

export const examples: readonly Example[] = readdirSync(folder)
  .filter(name => name.endsWith('.mjs'))
  .sort()
  .map(exampleOf)
