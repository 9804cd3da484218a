// Makes the table of docs/metrics.md from ts/metrics/families.ts.
//
//   node scripts/build/metrics-table.mjs            writes it into the page

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { commandLine } from '../command-line.mjs'
import { isMain } from '../main-module.mjs'
import { root } from '../root.mjs'
import { importTypeScript } from './import-typescript.mjs'
import { withPart } from './marked-part.mjs'

const page = join(root, 'docs/metrics.md')

const row = ([name, { type, labels, help }]) =>
  `| \`${name}\` | ${type} | ${labels.map(label => `\`${label}\``).join(', ')} | ${help} |\n`

/** The page as it is, and with the table of these metrics. */
export function pageWithTable(families) {
  const text = readFileSync(page, 'utf8')
  const head = '| metric | type | labels | meaning |\n|---|---|---|---|\n'
  const table = `${head}${Object.entries(families).map(row).join('')}`
  return { text, made: withPart(text, 'the table of metrics', table) }
}

if (isMain(import.meta.url)) {
  commandLine(import.meta.url)
  const { families } = await importTypeScript('ts/metrics/families.ts')
  writeFileSync(page, pageWithTable(families).made)
}
