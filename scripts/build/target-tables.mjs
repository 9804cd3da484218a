// Makes the tables of docs/targets.md from the table of schemes in ts/targets: the schemes, their
// workloads, and their options.
//
//   node scripts/build/target-tables.mjs            writes them into the page

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { commandLine } from '../command-line.mjs'
import { isMain } from '../main-module.mjs'
import { root } from '../root.mjs'
import { importTypeScript } from './import-typescript.mjs'
import { withPart } from './marked-part.mjs'

const page = join(root, 'docs/targets.md')

const FORMS = {
  N: 'a number',
  RATE: 'a rate',
  SIZE: 'a size',
  FILE: 'a file',
  TEXT: 'a text',
  'START-END': 'a range of addresses',
}

const table = (head, rows) =>
  `${[head, head.map(() => '---'), ...rows].map(row => `| ${row.join(' | ')} |`).join('\n')}\n`.replace(
    /^\| ---.*$/m,
    `|${'---|'.repeat(head.length)}`,
  )

const code = text => `\`${text}\``
/** A default is a value unless it is a phrase. */
const defaultOf = ({ default: text = 'none' }) => (/[ ]|^none$/.test(text) ? text : code(text))

function optionRow(name, option, users, choices) {
  const form =
    choices.length > 0 ? choices.map(code).join(', ') : (FORMS[option.value] ?? option.value)
  return [code(name), form, defaultOf(option), option.meaning, users.map(code).join(', ')]
}

/** The tables by the names of their parts. */
export function targetTables(schemes, choicesOf) {
  const rows = (options, users) =>
    Object.entries(options).map(([key, option]) => optionRow(key, option, users, choicesOf(option)))
  const forms = schemes.map(({ name, operand, about }) => [code(`${name}:${operand}`), about])
  const named = schemes.flatMap(({ operands = {} }) => Object.entries(operands))
  const own = schemes.flatMap(({ name, options }) => rows(options, [`${name}:`]))
  const shared = [...new Set(schemes.map(({ common }) => common))].flatMap(common => {
    const users = schemes.filter(scheme => scheme.common === common).map(({ name }) => `${name}:`)
    return rows(common, users)
  })
  return {
    'the table of schemes': table(['scheme', 'what it opens'], forms),
    'the table of workloads': table(
      ['workload', 'what the guest writes'],
      named.map(([word, meaning]) => [code(word), meaning]),
    ),
    'the table of options': table(
      ['option', 'form', 'default', 'meaning', 'schemes'],
      [...own, ...shared],
    ),
  }
}

/** The page as it is, and with the tables that `schemes` make. */
export function pageWithTables(schemes, choicesOf) {
  const text = readFileSync(page, 'utf8')
  const made = Object.entries(targetTables(schemes, choicesOf)).reduce(
    (page, [name, part]) => withPart(page, name, part),
    text,
  )
  return { text, made }
}

if (isMain(import.meta.url)) {
  commandLine(import.meta.url)
  const { schemes } = await importTypeScript('ts/targets/open.ts')
  const { choicesOf } = await importTypeScript('ts/targets/scheme.ts')
  writeFileSync(page, pageWithTables(schemes, choicesOf).made)
}
