// Makes the table of rights in docs/hosts.md from ts/targets/process/rights.ts.
//
//   node scripts/build/rights-table.mjs            writes it into the page

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { commandLine } from '../command-line.mjs'
import { isMain } from '../main-module.mjs'
import { root } from '../root.mjs'
import { importTypeScript } from './import-typescript.mjs'
import { withPart } from './marked-part.mjs'

const page = join(root, 'docs/hosts.md')

/** The table of `rights`, as Markdown. */
export function rightsTable(rights) {
  const word = has => (has ? 'yes' : 'no')
  const rows = Object.values(rights).map(({ reader, access, mend = '' }) => {
    const { maps, memory, pagemap, files } = access
    return `| ${[reader, ...[maps, memory, pagemap, files].map(word), mend].join(' | ')} |\n`
  })
  return `| who reads | ranges | memory | pagemap | files | what to do |\n|---|---|---|---|---|---|\n${rows.join('')}`
}

/** The page as it is, and with the table that `rights` make. */
export function pageWithTable(rights) {
  const text = readFileSync(page, 'utf8')
  return { text, made: withPart(text, 'the table of rights', rightsTable(rights)) }
}

if (isMain(import.meta.url)) {
  commandLine(import.meta.url)
  const { RIGHTS } = await importTypeScript('ts/targets/process/rights.ts')
  writeFileSync(page, pageWithTable(RIGHTS).made)
}
